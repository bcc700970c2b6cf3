"""What a recipe makes of a corpus: rules, draws, and what became of every second."""
