"""The two parts of the feature `efficientnet`: what the network saw, and the labels it makes of that."""

POOLED_WIDTH = 1280
POOLED, LOGITS = slice(POOLED_WIDTH), slice(POOLED_WIDTH, None)
