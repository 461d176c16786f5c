"""HDF5 files."""

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]

FORMATS = [
    FileFormat(
        name="hdf5",
        extensions=(".h5", ".hdf5"),
        reader="headrace.formats.hdf5.dataset:open_files",
        extra="hdf5",
    ),
]
