"""Untrusted media, opened in processes of its own; pictures in, pictures out."""
