"""Which clips show the same footage."""
