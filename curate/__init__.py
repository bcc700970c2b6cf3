"""Parts that make and measure clips."""
