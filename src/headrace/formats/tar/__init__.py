"""Tar archives: the files of a sample share a key."""
