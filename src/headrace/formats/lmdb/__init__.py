"""LMDB databases, read without their library."""
