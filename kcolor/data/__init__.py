"""Photos on disk: which there are, which are used for what, and how training and judging read them."""
