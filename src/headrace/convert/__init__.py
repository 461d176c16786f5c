"""Datasets become files of common formats: written in shards, stopped and gone on with, looked through."""

from headrace.convert.write import Written, write_dataset

__all__ = ["Written", "write_dataset"]
