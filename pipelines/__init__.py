"""Wiring: each file reads like the diagram in the README. Imported by nothing."""
