"""Datasets, and datasets made of others: a file each, which is imported where it is used."""
