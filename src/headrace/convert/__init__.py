"""Datasets become files of common formats: written in shards, stopped and gone on with, looked through."""

from headrace.convert.write import Packed, pack

__all__ = ["Packed", "pack"]
