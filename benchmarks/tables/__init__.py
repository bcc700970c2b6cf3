"""What the tables of a corpus should live in, measured: one store a file."""
