"""Measure headrace beside other ways to load the same: contenders that take turns, and tables of what they took."""
