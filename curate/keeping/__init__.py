"""Taking a source out again, and proving that the rest is whole."""
