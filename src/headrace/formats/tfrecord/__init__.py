"""TFRecord files, and the tf.train.Examples in them."""

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]

FORMATS = [
    FileFormat(
        name="tfrecord",
        extensions=(".tfrecord", ".tfrecords"),
        reader="headrace.formats.tfrecord.dataset:open_files",
        writer="headrace.formats.tfrecord.writer:TFRecordFormat",
        rescue="headrace.formats.tfrecord.dataset:open_up_to_damage",
    ),
]
