"""Chains of transforms on encoded images: from the bytes of files to rows of the batch in one pass.

A chain that begins with Decode is written into a program as far as one can express it. Of a JPEG no more
is decoded than the part that the program shows, at 1/2, 1/4 or 1/8 of its size where that still has
the pixels for the size that it is scaled to. A single sample goes the same way as a batch, so that its
pixels are the same.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty
from headrace.batch.capabilities import batch_function, capability
from headrace.batch.collate import default_collate
from headrace.errors import DecodeError
from headrace.errors.notes import add_note
from headrace.images.codecs.decode import decode
from headrace.images.codecs.images import as_bytes, check_size
from headrace.images.codecs.jpeg import decode_reduced, is_jpeg
from headrace.images.fuse import make_rows, run_batch, write_steps
from headrace.images.layout import Axes, entry_layouts, layout_after, run_steps
from headrace.images.program import Program, channels_last
from headrace.images.steps import begins_encoded, flat_steps
from headrace.kernels.cores import threads
from headrace.kernels.images import Interpolation, Scaling, Turn
from headrace.rng.notes import notes_wanted
from headrace.rng.places import each_sample, part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Step

__all__ = ["become_one_size", "make_batch", "make_sample", "upright_size"]

_DENOMINATORS = (2, 4, 8)

# What turns a stored image upright, by its EXIF orientation.
_TURNS = np.array(
    [
        0,
        0,
        Turn.COLUMNS_MIRRORED,
        Turn.ROWS_MIRRORED + Turn.COLUMNS_MIRRORED,
        Turn.ROWS_MIRRORED,
        Turn.TRANSPOSED,
        Turn.TRANSPOSED + Turn.COLUMNS_MIRRORED,
        Turn.TRANSPOSED + Turn.ROWS_MIRRORED + Turn.COLUMNS_MIRRORED,
        Turn.TRANSPOSED + Turn.ROWS_MIRRORED,
    ],
    np.int32,
)


def become_one_size(functions: Sequence[Step]) -> bool:
    """Return whether encoded images of any sizes come out of the functions in one size, by a program."""
    if not begins_encoded(functions):
        return False
    for _, function in list(flat_steps(functions))[1:]:
        if capability(function, "lower") is None:
            return False
        if getattr(function, "gives_one_size", False):
            return True
    return False


def _say_which(error: Exception, row: int) -> None:
    add_note(error, f"image {row} of the batch")


def make_batch(
    files: Sequence[Any], functions: Sequence[Step], annotate: Callable[[Exception, int], None] = _say_which
) -> Any:
    """Return the batch that functions make of encoded images; None where a program does not give them one size.

    Args:
        files: the encoded images.
        functions: one after the other, each with the slots, one in the other, in which it draws. The
            first of them, or of what it is composed of, is a Decode.
        annotate: lets an error say of which image it is, given its number.

    Raises:
        DecodeError: one of them is no image, is broken, or is too large.
    """
    steps = list(flat_steps(functions))
    work = _Work(files, steps, annotate)
    if not work.run():
        return None
    return _rest(work.out, steps[1 + work.written :], work.layout)


def make_sample(file: Any, functions: Sequence[Step]) -> Any:
    """Apply functions to one encoded image; see make_batch."""
    steps = list(flat_steps(functions))
    if notes_wanted():
        return run_steps(steps, file, None, batched=False)
    work = _Work([file], steps, None)
    work.run()
    return run_steps(steps[1 + work.written :], work.out[0], work.layout, batched=False)


def upright_size(file: Any) -> tuple[int, int]:
    """Return the height and width of an encoded image once it is turned as its orientation says.

    >>> upright_size(b"P5 3 1 255 abc")
    (1, 3)
    """
    height, width, components, turn = kernels.active().jpeg_headers([as_bytes(file)])[0].tolist()
    if not components:  # what turns others is in them anywhere
        height, width = decode(file).shape[:2]
    return (width, height) if _TURNS[turn] & Turn.TRANSPOSED else (height, width)


def _rest(value: Any, steps: Sequence[Step], layout: str | None) -> Any:
    """Apply the functions that a program could not express to the batch that it gave."""
    functions = [function for _, function in steps]
    single = (number for number, function in enumerate(functions) if batch_function(function) is None)
    stop = next(single, len(steps))
    value = run_batch(steps[:stop], value, layout)
    return _rest_singly(value, steps[stop:], entry_layouts(functions[:stop], layout)[-1])


def _rest_singly(batch: Any, steps: Sequence[Step], layout: str | None) -> Any:
    if not steps:
        return batch
    samples = []
    with each_sample(len(batch)) as move_to:
        for row, value in enumerate(batch):
            move_to(row)
            samples.append(run_steps(steps, value, layout, batched=False))
    return default_collate(samples)


class _Work:
    """Some encoded images on their way into the rows of one array.

    JPEGs say their size in few bytes, so they go together. All else is decoded one at a time, and
    none is kept: a batch takes its own memory and that of one image.

    Args:
        files: the encoded images.
        steps: the chain, Decode first.
        annotate: lets an error say of which image it is; None where it need not.

    Attributes:
        decode: the first of the steps.
        out: the batch.
        written: how many of the steps behind Decode are done.
        layout: where the channels of the images in the batch are.
    """

    def __init__(
        self, files: Sequence[Any], steps: Sequence[Step], annotate: Callable[[Exception, int], None] | None
    ) -> None:
        first: Any = steps[0][1]
        self.decode = first
        self.mode, self.max_pixels = first.decodes_to()
        self._files: list[bytes] = []
        self._steps = steps[1:]
        self._annotate = annotate
        self._axes, self._channels = (Axes(1, 2, 3), 3) if self.mode == "RGB" else (Axes(1, 2, None), 1)
        self.out: Any = None
        self.written = -1
        self.layout: str | None = None
        for row, data in enumerate(files):
            with self.noted(row):
                self._files.append(as_bytes(data))

    def file(self, row: int) -> bytes:
        """Return the bytes of an image."""
        return self._files[row]

    @contextmanager
    def noted(self, row: int) -> Iterator[None]:
        """Let errors say of which image they are."""
        try:
            yield
        except Exception as error:
            if self._annotate is not None:
                self._annotate(error, row)
            raise

    def run(self) -> bool:
        """Make the batch; whether its images have one size."""
        jpegs = self._find_jpegs()
        rows = np.array([jpeg.row for jpeg in jpegs], np.int64)
        if len(rows) and not self._take(rows, np.array([jpeg.extent for jpeg in jpegs]), _Jpegs(self, jpegs).make):
            return False
        others = np.setdiff1d(np.arange(len(self._files)), rows).tolist()
        return all(map(self._take_other, others))

    def _find_jpegs(self) -> list[_Jpeg]:
        """Return the images whose sizes and colours their headers tell."""
        jpegs = []
        for row, header in enumerate(kernels.active().jpeg_headers(self._files).tolist()):
            height, width, components, orientation = header
            if not components or (components != 1 and self._channels == 1) or not is_jpeg(self._files[row]):
                continue
            with self.noted(row):
                check_size("JPEG", width, height, self.max_pixels)
            turn = int(_TURNS[orientation])
            jpegs.append(_Jpeg(row, header, turn, (width, height) if turn & Turn.TRANSPOSED else (height, width)))
        return jpegs

    def _take(self, rows: NDArray[np.int64], extents: NDArray[np.int64], make: Callable[[Program, Any], None]) -> bool:
        """Make some of the rows; whether they are like those before them."""
        program = Program(extents, self._channels, self._axes, repeats=False)
        with part(rows, len(self._files)):
            written = write_steps(program, self._steps, layout_after(self.decode, None))
        if not program.uniform or not self._is_like_the_others(program, written):
            return False
        adjacent = rows[-1] - rows[0] == len(rows) - 1
        out = self.out[rows[0] : rows[-1] + 1] if adjacent else empty((len(rows), *program.shape), program.dtype)
        make(program, out)
        if not adjacent:
            self.out[rows] = out
        return True

    def _is_like_the_others(self, program: Program, written: int) -> bool:
        if self.out is None:
            self.written = written
            self.layout = entry_layouts([self.decode, *(function for _, function in self._steps[:written])], None)[-1]
            self.out = empty((len(self._files), *program.shape), program.dtype)
        return (written, program.shape, program.dtype) == (self.written, self.out.shape[1:], self.out.dtype)

    def _take_other(self, row: int) -> bool:
        with self.noted(row):
            image = decode(self._files[row], self.mode, self.max_pixels)
        image = image.reshape(1, *image.shape[:2], self._channels)

        def make(program: Program, out: NDArray[Any]) -> None:
            make_rows(program, image, np.zeros(1, np.int64), out)

        return self._take(np.array([row]), np.array([image.shape[1:3]]), make)


class _Jpeg(NamedTuple):
    """A JPEG whose header has been read.

    Attributes:
        row: its number among the files.
        header: what the kernel found.
        turn: what turns it upright.
        extent: its height and width then.
    """

    row: int
    header: list[int]
    turn: int
    extent: tuple[int, int]


class _Jpegs:
    """JPEGs that are decoded together."""

    def __init__(self, work: _Work, jpegs: list[_Jpeg]) -> None:
        self._work = work
        self._rows = [jpeg.row for jpeg in jpegs]
        self._headers = np.array([jpeg.header for jpeg in jpegs], np.int32).reshape(-1, 4)
        self._turns = np.array([jpeg.turn for jpeg in jpegs], np.int32)
        self._extents = np.array([jpeg.extent for jpeg in jpegs], np.int64).reshape(-1, 2)

    def make(self, program: Program, out: NDArray[Any]) -> None:
        """Write what the program makes of them into `out`."""
        scaling = program.scaling or _as_it_is(self._extents)
        turns = self._turns ^ scaling.turns  # what mirrors an upright image only exchanges what mirrored it before
        denominators = _denominators(scaling)
        boxes = _reduced(scaling.boxes, self._extents, turns, denominators)
        files = [self._work.file(row) for row in self._rows]
        pixels, last = program.pixels(), channels_last(out, program.axes)
        reduced = scaling._replace(turns=turns, boxes=boxes)
        failures = kernels.active().decode(files, self._headers, denominators, reduced, pixels, last, threads())
        for number, reason in failures:
            image = self._decode_otherwise(number, int(denominators[number]), reason)
            is_whole = image.shape[1:3] == tuple(self._extents[number])
            upright = scaling._replace(boxes=scaling.boxes if is_whole else boxes).row(number)
            one = slice(number, number + 1)
            kernels.active().scale(image, np.zeros(1, np.int64), upright, pixels.row(number), last[one])

    def _decode_otherwise(self, number: int, denominator: int, reason: str) -> NDArray[np.uint8]:
        """Decode an image that the kernel could not, upright, as (1, height, width, channels): reduced or whole."""
        extent = self._extents[number]
        whole, reduced = tuple(extent.tolist()), tuple((-(-extent // denominator)).tolist())
        with self._work.noted(self._rows[number]):
            file = self._work.file(self._rows[number])
            image = decode_reduced(file, self._work.mode, self._work.max_pixels, denominator, reason)
            if image.shape[:2] not in (whole, reduced):
                raise DecodeError(f"a JPEG image has two sizes: {image.shape[:2]} and {reduced}")
        return image.reshape(1, *image.shape[:2], -1)


def _as_it_is(extents: NDArray[np.int64]) -> Scaling:
    """Return all of each image, at its size."""
    boxes = np.zeros((len(extents), 4))
    boxes[:, 2:] = extents
    return Scaling(np.zeros(len(extents), np.int32), boxes, extents.astype(np.int32))


def _denominators(scaling: Scaling) -> NDArray[np.int32]:
    """Return the part of its size at which each image is decoded: the least with enough pixels."""
    found = np.ones(len(scaling.sizes), np.int32)
    # Without a filter against aliasing few pixels count, of those of the whole image.
    if scaling.antialias and scaling.interpolation != Interpolation.NEAREST:
        extents = scaling.boxes[:, 2:] - scaling.boxes[:, :2]
        for denominator in _DENOMINATORS:
            found[(extents >= scaling.sizes * denominator).all(axis=1)] = denominator
    return found


def _reduced(
    boxes: NDArray[np.float64], extents: NDArray[np.int64], turns: NDArray[np.int32], denominators: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the boxes in images of a part of the size, which is rounded up at the right and at the bottom."""
    sizes = extents / denominators[:, np.newaxis]
    mirrored = np.stack([turns & Turn.ROWS_MIRRORED, turns & Turn.COLUMNS_MIRRORED], axis=1) != 0
    before = np.where(mirrored, np.ceil(sizes) - sizes, 0)  # where a mirrored image begins
    reduced: NDArray[np.float64] = boxes / denominators[:, np.newaxis] + np.tile(before, 2)
    return reduced
