"""The verbs of the command `clipmill`, by what they are about. Each parses and prints; the work is elsewhere."""
