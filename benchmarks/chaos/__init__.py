"""The chain killed, starved and lied to, and still the same corpus, byte for byte."""
