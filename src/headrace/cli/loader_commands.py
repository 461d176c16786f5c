"""Commands that look at a loader: show, explain, predict and measure it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.cli.parser import add_command, require

if TYPE_CHECKING:
    import argparse

    from headrace.cli.parser import Commands, Parser

__all__ = ["add_loader_commands"]


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
    show = add_command(commands, "show", text)
    show.add_argument(
        "target",
        metavar="TARGET",
        help="a folder with a folder of images for each class, which gets the usual augmentation (a random resized "
        "crop to 224 pixels and a flip); or module:object, where the object is a DataLoader, a dataset or a function "
        "that makes one",
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
    explain = add_command(
        commands,
        "explain",
        text,
        more=(
            "A batch is a function of dataset, seed, epoch and step, so nothing has to be recorded while training\n"
            "runs: the samples are read again, one by one, and what each transform draws for them is noted. Take\n"
            "the step and the epoch of a bad batch from the log, and the loader of the training script."
        ),
        epilog="examples:\n  headrace explain photos/train --step 120 --epoch 3\n"
        "  headrace explain train:loader --step 4811 --row 17",
    )
    _add_target(explain)
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
    memory = add_command(commands, "memory", text)
    _add_target(memory)
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
    plan = add_command(
        commands,
        "plan",
        text,
        more=(
            "The order is arithmetic, so each step of each rank is known. Of each epoch there are the bytes of\n"
            "samples as they lie in files, the requests for what lies far away and the bytes that come with them,\n"
            "hits and misses of caches, and what is decoded: the counts by which loader.stats().counters rises in a\n"
            "real run. Amplification is what is moved for each byte of a sample. The shuffle is held against a true\n"
            "permutation: 1.00 is as good. Only one batch is read, for its size. Where a count depends on which\n"
            "process is first, that is said."
        ),
        epilog="examples:\n  headrace plan photos --ranks 8 --workers 4\n"
        "  headrace plan train:loader --shuffle block --window 16 --epochs 2 --json",
    )
    _add_target(plan)
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
    profile = add_command(commands, "profile", text)
    _add_target(profile)
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
    tune = add_command(commands, "tune", text)
    _add_target(tune)
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


# ---------------------------------------------------------------------- options that commands share


def _add_target(command: Parser) -> None:
    command.add_argument("target", metavar="TARGET", help="as for headrace show")


def _add_place(command: Parser) -> None:
    command.add_argument("--step", type=int, default=0, metavar="N", help="which batch; default: %(default)s")
    command.add_argument("--epoch", type=int, default=0, metavar="N", help="of which epoch; default: %(default)s")


def _add_batch_size(command: Parser, default: int) -> None:
    command.add_argument(
        "--batch-size", type=int, default=default, metavar="N", help="where TARGET is no loader; default: %(default)s"
    )


def _add_consumer(command: Parser) -> None:
    command.add_argument("--consumer-ms", type=float, metavar="X", help="each step waits so long; default: 0")
    command.add_argument("--train", metavar="MODULE:FUNCTION", help="what each step does instead, called with a batch")


def _add_json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object, for programs")
