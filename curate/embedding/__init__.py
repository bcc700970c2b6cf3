"""Networks that several scorers share, and what they make of pictures and sentences."""
