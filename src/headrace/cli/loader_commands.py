"""Commands that look at a loader: show, explain, predict and measure it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.cli.parser import add_command, require

if TYPE_CHECKING:
    import argparse

    from headrace.cli.parser import Commands, Parser

__all__ = ["add_loader_commands"]

_TARGET = """TARGET is one of
  a folder with a folder of images for each class,
  a file, folder, pattern or address of tar, TFRecord, Parquet, LMDB, npy, ... as headrace convert takes them,
  module:object, where the object is a DataLoader (also one of headrace.torch), a dataset, or a function without
  arguments that makes one; the module is also looked for in the present folder, as python -m does.
Images in files get the usual augmentation, a random resized crop to 224 pixels and a flip."""
_EXIT = "exit code: 0, or 2 for an error, which is one line on stderr; 130 after Ctrl-C"


def add_loader_commands(commands: Commands) -> None:
    """Add the commands to the parser."""
    _add_show(commands)
    _add_explain(commands)
    _add_memory(commands)
    _add_plan(commands)
    _add_profile(commands)
    _add_tune(commands)
    _add_bench(commands)


def _add_show(commands: Commands) -> None:
    text = "draw the images of a batch with their labels, before and after augmentation"
    show = _add(
        commands,
        "show",
        text,
        "What is random is found by trying: a function that draws is left out of the image before.",
        "photos/train",
        "train:loader --step 120 --epoch 3 --out batch.png",
    )
    _add_place(show)
    show.add_argument("--seed", type=int, metavar="N", help="default: the loader's own, or 0")
    _add_batch_size(show, 16)
    show.add_argument(
        "--out",
        default="headrace-show.png",
        metavar="FILE",
        help="the image file: a PNG, a JPEG or what else its ending says; default: %(default)s",
    )
    show.set_defaults(command=_show)


def _show(args: argparse.Namespace) -> None:
    require("show", "images")
    from headrace.cli import show

    show.image_format(args.out)  # before a batch is read
    show.sheet(args.target, args.step, args.epoch, args.seed, args.batch_size).save(args.out)
    print(args.out)


def _add_explain(commands: Commands) -> None:
    text = "tell where each sample of a batch comes from, and what was done to it"
    explain = _add(
        commands,
        "explain",
        text,
        "A batch is a function of dataset, seed, epoch and step, so nothing has to be recorded while training\n"
        "runs: the samples are read again, one by one, and what each transform draws for them is noted. Take\n"
        "the step and the epoch of a bad batch from the log, and the loader of the training script.",
        "photos/train --step 120 --epoch 3",
        "train:loader --step 4811 --row 17",
    )
    _add_place(explain)
    explain.add_argument("--row", type=int, metavar="N", help="only this sample of the batch")
    explain.add_argument("--seed", type=int, metavar="N", help="default: the loader's own, or 0")
    _add_batch_size(explain, 16)
    _add_json(explain)
    explain.set_defaults(command=_explain)


def _explain(args: argparse.Namespace) -> None:
    from headrace.cli import explain

    explain.run(
        args.target,
        step=args.step,
        epoch=args.epoch,
        row=args.row,
        seed=args.seed,
        batch_size=args.batch_size,
        as_json=args.json,
    )


def _add_memory(commands: Commands) -> None:
    text = "the memory that a loader takes at some batch sizes, predicted and measured"
    memory = _add(
        commands,
        "memory",
        text,
        "A batch of each size is loaded, and from its bytes follows what the loader holds: the batch that the loop\n"
        "has, and those that are loaded ahead. Then a few batches are loaded, and what the process and its workers\n"
        "grow by is measured, interpreters of worker processes included.",
        "photos --batch-sizes 32,64,128",
        "train:loader --workers 4 --json",
    )
    memory.add_argument("--batch-sizes", metavar="N,N,...", help="default: 32,64,128,256")
    memory.add_argument("--workers", type=int, metavar="N", help="default: those of the loader")
    memory.add_argument("--batches", type=int, default=8, metavar="N", help="loaded of each size; default: %(default)s")
    _add_json(memory)
    memory.set_defaults(command=_memory)


def _memory(args: argparse.Namespace) -> None:
    from headrace.cli import memory

    memory.run(args.target, batch_sizes=args.batch_sizes, workers=args.workers, batches=args.batches, as_json=args.json)


def _add_plan(commands: Commands) -> None:
    text = "what a run will read, ask for and find in its caches, found without running it"
    plan = _add(
        commands,
        "plan",
        text,
        "The order is arithmetic, so each step of each rank is known. Of each epoch there are the bytes of\n"
        "samples as they lie in files, the requests for what lies far away and the bytes that come with them,\n"
        "hits and misses of caches, and what is decoded: the counts by which loader.stats().counters rises in a\n"
        "real run. Amplification is what is moved for each byte of a sample. The shuffle is held against a true\n"
        "permutation: 1.00 is as good. Only one batch is read, for its size. Where a count depends on which\n"
        "process is first, that is said.",
        "photos --ranks 8 --workers 4",
        "train:loader --shuffle block --window 16 --epochs 2 --json",
    )
    plan.add_argument("--ranks", type=int, metavar="N", help="default: those of the loader")
    plan.add_argument("--workers", type=int, metavar="N", help="of each rank; default: those of the loader")
    plan.add_argument("--shuffle", choices=("yes", "no", "block"), help="default: as the loader has it")
    plan.add_argument("--block-size", type=int, metavar="N", help="samples a block; default: what the dataset says")
    plan.add_argument("--window", type=int, metavar="N", help="blocks that are shuffled among each other")
    _add_batch_size(plan, 32)
    plan.add_argument("--seed", type=int, metavar="N", help="default: the loader's own, or 0")
    plan.add_argument("--epochs", type=int, default=1, metavar="N", help="that follow each other; default: %(default)s")
    plan.add_argument("--steps", type=int, metavar="N", help="only the first N steps of each epoch")
    _add_json(plan)
    plan.set_defaults(command=_plan)


def _plan(args: argparse.Namespace) -> None:
    from headrace.cli import plan

    plan.run(
        args.target,
        ranks=args.ranks,
        workers=args.workers,
        shuffle=args.shuffle,
        block_size=args.block_size,
        window=args.window,
        batch_size=args.batch_size,
        seed=args.seed,
        epochs=args.epochs,
        steps=args.steps,
        as_json=args.json,
    )


def _add_profile(commands: Commands) -> None:
    text = "run a loader with a consumer, and tell whether the loop waits for it, and for what"
    profile = _add(
        commands,
        "profile",
        text,
        "Each step waits for --consumer-ms, or calls the function of --train with the batch. With neither, the\n"
        "loader runs alone, and nothing is said about a model. The verdict is data-starved where a step waits for\n"
        "more than a tenth of its time, else compute-bound. What follows is a table of waiting, of the stages of\n"
        "loading and of each worker.",
        "photos --consumer-ms 20",
        "train:loader --train train:step --seconds 30 --html profile.html",
    )
    _add_consumer(profile)
    profile.add_argument("--seconds", type=float, metavar="S", help="how long to run; default: 10, or --epochs")
    profile.add_argument("--epochs", type=int, metavar="N", help="how many epochs to run at most")
    _add_batch_size(profile, 32)
    profile.add_argument("--workers", type=int, metavar="N", help="default: those of the loader")
    profile.add_argument("--html", metavar="FILE", help="write a page with charts, also of other batch sizes")
    _add_json(profile)
    profile.set_defaults(command=_profile)


def _profile(args: argparse.Namespace) -> None:
    from headrace.cli import profile

    profile.run(
        args.target,
        consumer_ms=args.consumer_ms,
        train=args.train,
        seconds=args.seconds,
        epochs=args.epochs,
        batch_size=args.batch_size,
        workers=args.workers,
        html=args.html,
        as_json=args.json,
    )


def _add_tune(commands: Commands) -> None:
    text = "try numbers and kinds of workers and a cache, and tell the fastest and the line of code for it"
    tune = _add(
        commands,
        "tune",
        text,
        "Settings take turns in short runs with the consumer, and the better half of them goes on for twice as\n"
        "long, until one is left. The last line is the code to paste. No setting but a batch size changes a batch.\n"
        "Give the consumer that will run: without one the loader alone is made as fast as it goes.",
        "photos --consumer-ms 20",
        "train:loader --train train:step --ram 8GB --batch-sizes 32,64",
    )
    _add_consumer(tune)
    tune.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        metavar="S",
        help="of each setting in the first round, and four times as long to fill a cache; default: %(default)s",
    )
    _add_batch_size(tune, 32)
    tune.add_argument("--batch-sizes", metavar="N,N,...", help="try these, too; only they change batches")
    tune.add_argument("--ram", metavar="SIZE", help="the most memory that a setting may take, such as 2GB")
    _add_json(tune)
    tune.set_defaults(command=_tune)


def _tune(args: argparse.Namespace) -> None:
    from headrace.cli import tune

    tune.run(
        args.target,
        consumer_ms=args.consumer_ms,
        train=args.train,
        seconds=args.seconds,
        batch_size=args.batch_size,
        batch_sizes=args.batch_sizes,
        ram=args.ram,
        as_json=args.json,
    )


def _add_bench(commands: Commands) -> None:
    from headrace.bench.rivals import RIVALS
    from headrace.bench.workloads import WORKLOADS

    text = "measure headrace beside other loaders, on this machine"
    bench = add_command(
        commands,
        "bench",
        text,
        more=(
            "The contenders of a table take turns in one process, so they compare with each other. Each goes through\n"
            "an epoch first, of which samples, labels and the mean of values are held against the others', and at\n"
            "whose memory is looked. Then follow the rounds that count. A table has the best and the median round,\n"
            "how far rounds are apart, the seconds of CPU in all processes and the memory that was added at the peak.\n"
            "\nworkloads:\n" + "\n".join(f"  {name:10}{what}" for name, what in WORKLOADS.items())
        ),
        epilog="exit code: 0, 1 if a contender did other work than the others, 2 for an error\n\n"
        "examples:\n  headrace bench table\n  headrace bench jpeg images --against torch,dali --json results.json",
    )
    bench.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="default: all")
    bench.add_argument(
        "--against", metavar="NAMES", help=f"some of {', '.join(RIVALS)}; default: those that are installed"
    )
    bench.add_argument("--seconds", type=float, default=10.0, metavar="S", help="for each table; default: %(default)g")
    bench.add_argument("--json", metavar="FILE", help="save the results, with the machine, the versions and the date")
    bench.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    bench.set_defaults(command=_bench)


def _bench(args: argparse.Namespace) -> int:
    from headrace.cli import bench

    return bench.run(args.workloads, against=args.against, seconds=args.seconds, target=args.json, smoke=args.smoke)


# ---------------------------------------------------------------------- what commands share


def _add(commands: Commands, name: str, text: str, more: str, *examples: str) -> Parser:
    """Add a command that looks at a target, with lines of explanation and examples, and return its parser."""
    shown = "".join(f"  headrace {name} {each}\n" for each in examples)
    command = add_command(commands, name, text, more=f"{more}\n\n{_TARGET}", epilog=f"examples:\n{shown}\n{_EXIT}")
    command.add_argument("target", metavar="TARGET", help="files, or module:object; see above")
    return command


def _add_place(command: Parser) -> None:
    command.add_argument("--step", type=int, default=0, metavar="N", help="which batch; default: %(default)s")
    command.add_argument("--epoch", type=int, default=0, metavar="N", help="of which epoch; default: %(default)s")


def _add_batch_size(command: Parser, default: int) -> None:
    text = f"of a TARGET that is no loader, which has its own; default: {default}"
    command.add_argument("--batch-size", type=int, metavar="N", help=text)


def _add_consumer(command: Parser) -> None:
    command.add_argument("--consumer-ms", type=float, metavar="X", help="each step waits so long; default: 0")
    command.add_argument("--train", metavar="MODULE:FUNCTION", help="what each step does instead, called with a batch")


def _add_json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object, for programs")
