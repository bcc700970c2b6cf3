"""From a selection to shards that can be trusted."""
