"""Samples become a batch: collation, the structure of batches, and the memory they lie in."""
