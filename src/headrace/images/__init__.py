"""From encoded or raw images to rows of a batch in one pass: layouts, the program of a chain, and its compilation."""
