"""The `headrace` command: reads the arguments and calls the tool, which is imported only then."""

from __future__ import annotations

import io
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import __version__
from headrace.cli.file_commands import add_file_commands
from headrace.cli.loader_commands import add_loader_commands
from headrace.cli.parser import Parser, UsageError, add_command, require

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from headrace.cli.parser import Commands

__all__ = ["main"]

_FAILED = 2
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one line on standard error.

    Args:
        argv: the arguments behind `headrace`, those of the process without it.

    Returns:
        0 for success, 1 where `verify` found something bad or `bench` unlike work, 2 for arguments that cannot be used,
        an extra that is not installed, and any other error, 130 for Ctrl-C.

    >>> main(["info", "--verbose"])  # says on standard error: headrace: unrecognized arguments: --verbose
    2

    """
    _take_any_text()
    try:
        args = _parser().parse_args(argv)
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    except UsageError as error:
        return _failed(str(error))
    try:
        command: Callable[[argparse.Namespace], int | None] = args.command
        with _warnings_in_a_line():
            code = command(args) or 0
        sys.stdout.flush()  # here, where a closed pipe can still be caught
    except UsageError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, say `head`, has seen enough. Nothing may be written at exit any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, SystemExit) as error:  # a program of the user's may end itself
        from headrace.cli.failure import one_line  # no other command needs it

        return _failed(f"headrace {args.name}: {_as_options(one_line(error))}")
    return code


def _take_any_text() -> None:
    """Let stdout and stderr take characters that their encoding lacks, and be there where the program has neither."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the program's life
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Let warnings be told as errors are, without the line of the program that they are of: it is no user's."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(
            f"warning: {' '.join(str(message).split())}", file=sys.stderr
        )
        yield


def _as_options(text: str) -> str:
    """Return a remedy that names arguments, as options of the command line."""
    return (
        text.replace("overwrite=True", "--force")
        .replace("resume=True", "--resume")
        .replace("give format=", "give --format")
        .replace("num_workers", "--workers")
    )


def _failed(line: str) -> int:
    print(line, file=sys.stderr)
    return _FAILED


def _parser() -> Parser:
    parser = Parser(prog="headrace", description="A data loader for training: tools around it.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"headrace {__version__}")
    parser.set_defaults(command=lambda _: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="name")
    _add_demo(commands)
    _add_info(commands)
    add_file_commands(commands)
    add_loader_commands(commands)
    return parser


def _add_demo(commands: Commands) -> None:
    text = "train a small network on handwritten digits, in a few seconds"
    demo = add_command(commands, "demo", text)
    demo.add_argument("--epochs", type=int, default=20, metavar="N", help="default: %(default)s")
    demo.add_argument("--batch-size", type=int, default=32, metavar="N", help="default: %(default)s")
    demo.add_argument("--seed", type=int, default=0, metavar="N", help="one seed is one result; default: %(default)s")
    demo.add_argument(
        "--out",
        default="headrace-demo",
        metavar="FOLDER",
        help="where to put a picture of the first batch; default: %(default)s",
    )
    demo.set_defaults(command=_demo)


def _demo(args: argparse.Namespace) -> None:
    require("demo", "cli", "images")
    from headrace.cli import demo

    demo.run(args.epochs, args.batch_size, args.seed, args.out)


def _add_info(commands: Commands) -> None:
    text = "what is installed, which kernels run, what could be added"
    info = add_command(commands, "info", text)
    info.set_defaults(command=_info)


def _info(args: argparse.Namespace) -> None:  # noqa: ARG001 - every command takes the arguments
    from headrace.cli import info

    print(info.report())
