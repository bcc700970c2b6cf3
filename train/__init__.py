"""Parts that learn from shards. Never imports curate."""
