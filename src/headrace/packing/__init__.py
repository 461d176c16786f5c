"""Datasets become files of common formats: written in shards, stopped and gone on with, looked through."""

from headrace.packing.packer import Packed, pack

__all__ = ["Packed", "pack"]
