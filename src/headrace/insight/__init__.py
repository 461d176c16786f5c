"""Insight into a loader: clocks, statistics, and what follows from them."""
