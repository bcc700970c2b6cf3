"""What comes in: where it lies, what it is, and whose it is."""
