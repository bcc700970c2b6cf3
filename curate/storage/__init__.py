"""Where tables lie: commits, parts and views; the journal of what was done."""
