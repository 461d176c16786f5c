"""Samples kept after the costly part of reading them: in memory that all workers share, or in a folder."""
