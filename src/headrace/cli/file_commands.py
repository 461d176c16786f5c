"""Commands that write, check and index files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.cli.parser import add_command, add_reading, add_workers

if TYPE_CHECKING:
    import argparse

    from headrace.cli.parser import Commands

__all__ = ["add_file_commands"]


def add_file_commands(commands: Commands) -> None:
    """Add the commands to the parser."""
    _add_convert(commands)
    _add_verify(commands)
    _add_index(commands)
    _add_lengths(commands)


def _add_convert(commands: Commands) -> None:
    text = "write a dataset to tar, TFRecord, LMDB, Parquet or npy files"
    convert = add_command(commands, "convert", text)
    convert.add_argument(
        "source",
        metavar="SRC",
        help="a folder of images, of the originals of MNIST or CIFAR, or of shards; a tar, TFRecord, LMDB, Parquet, "
        "npy, Arrow or CSV file, or a pattern of several; or MODULE:OBJECT, a dataset or a function that makes one",
    )
    convert.add_argument("target", metavar="DST", help="the file or folder to write")
    convert.add_argument(
        "--format",
        metavar="NAME",
        help="tar, tfrecord, lmdb, parquet, npy, jsonl, ...; default: what DST ends in, else npy",
    )
    convert.add_argument("--fields", metavar="NAMES", help="what to call the positions of tuples: image,label")
    convert.add_argument(
        "--shard-size", metavar="SIZE", help="bytes of samples in a shard, such as 256MB; default: one shard"
    )
    convert.add_argument("--shard-samples", type=int, metavar="N", help="the most samples in a shard")
    convert.add_argument("--limit", type=int, metavar="N", help="only the first N samples")
    convert.add_argument("--resume", action="store_true", help="go on where writing was stopped")
    convert.add_argument("--force", action="store_true", help="overwrite what is there, once all is written")
    add_reading(convert)
    convert.set_defaults(command=_convert)


def _convert(args: argparse.Namespace) -> None:
    from headrace.cli import convert

    convert.run(
        args.source,
        args.target,
        format=args.format,
        fields=args.fields and args.fields.split(","),
        shard_size=args.shard_size,
        shard_samples=args.shard_samples,
        limit=args.limit,
        resume=args.resume,
        overwrite=args.force,
        train=not args.test,
        workers=args.workers,
        backend=args.backend,
    )


def _add_verify(commands: Commands) -> None:
    text = "read everything, check its sums, decode its images, and list what is bad"
    verify = add_command(commands, "verify", text)
    verify.add_argument("path", metavar="PATH", help="as SRC of headrace convert, but for MODULE:OBJECT")
    verify.add_argument("--repair", metavar="DST", help="write the good samples to DST")
    verify.add_argument("--force", action="store_true", help="overwrite DST")
    verify.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    add_reading(verify)
    verify.set_defaults(command=_verify)


def _verify(args: argparse.Namespace) -> int:
    from headrace.cli import verify

    return verify.run(
        args.path,
        repair=args.repair,
        force=args.force,
        as_json=args.json,
        train=not args.test,
        workers=args.workers,
        backend=args.backend,
    )


def _add_index(commands: Commands) -> None:
    text = "read the files of a dataset once and keep where their samples are, so that they open at once"
    index = add_command(commands, "index", text)
    index.add_argument("path", metavar="PATH", help="a tar, TFRecord or LMDB file, a pattern of several, or a folder")
    add_workers(index)
    index.set_defaults(command=_index)


def _index(args: argparse.Namespace) -> None:
    from headrace.cli import index

    index.run(args.path, workers=args.workers, backend=args.backend)


def _add_lengths(commands: Commands) -> None:
    text = "measure how many items each sequence has, once, for packing and batches by tokens"
    lengths = add_command(commands, "lengths", text)
    lengths.add_argument("source", metavar="SRC", help="as for headrace convert")
    lengths.add_argument(
        "target",
        metavar="FILE",
        nargs="?",
        help="the .npy file to write; by default they are kept beside SRC, where loaders find them",
    )
    lengths.add_argument(
        "--field", metavar="NAME", help="the field that has the sequence; default: input_ids or tokens"
    )
    add_workers(lengths)
    lengths.set_defaults(command=_lengths)


def _lengths(args: argparse.Namespace) -> None:
    from headrace.cli import lengths

    lengths.run(args.source, args.target, field=args.field, workers=args.workers, backend=args.backend)
