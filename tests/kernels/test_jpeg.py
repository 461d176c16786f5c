"""The decoder for baseline JPEGs gives libjpeg-turbo's pixels, or none.

It is built here without libjpeg, once as it is and once without AVX2, so that nothing else can have decoded an image.
"""

from __future__ import annotations

import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from headrace.kernels import native
from headrace.kernels.images import Pixels, Scaling, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

Image = pytest.importorskip("PIL.Image", reason="Pillow is the oracle")

SOURCES = Path(__file__).parents[2] / "native"
BUILDS = {"AVX2": [], "portable": ["-DHEADRACE_PORTABLE"]}
SLOW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session", params=list(BUILDS))
def baseline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> native.NativeKernels:
    """The kernels of a library that has no other decoder."""
    using = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if using is None or isinstance(native.load(), str):
        pytest.skip("there is no compiler of C, or none that builds the kernels")
    library = tmp_path_factory.mktemp("baseline") / native.LIBRARY
    options = ["-std=c11", "-O1", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden"]
    sources = map(str, sorted(SOURCES.glob("*/*.c")))
    folders = [f"-I{each}" for each in sorted(SOURCES.iterdir())]
    command = [using, *options, *folders, *BUILDS[request.param], *sources, "-o", str(library), "-lm", "-lpthread"]
    subprocess.run(command, check=True)
    return native.NativeKernels(library)


def decoded(
    kernels: Any, files: Sequence[bytes], denominator: int = 1, box: Any = None, turn: int = 0, channels: int = 3
) -> Any:
    """The same part of each of the files, of one size; None in place of those that could not be decoded."""
    headers, count = kernels.jpeg_headers(files), len(files)
    extent = -(-headers[0, :2] // denominator)
    box = (0, 0, *(extent[::-1] if turn & Turn.TRANSPOSED else extent)) if box is None else box
    height, width = int(box[2] - box[0]), int(box[3] - box[1])
    boxes = np.tile(np.array(box, np.float64), (count, 1))
    sizes = np.tile(np.array([height, width], np.int32), (count, 1))
    values = np.tile(np.arange(256, dtype=np.uint8), (channels, 1))
    places = np.tile(np.array([0, 0, 1, 1, 0, height, 0, width], np.int32), (count, 1))
    out = np.zeros((count, height, width, channels), np.uint8)
    one = Scaling(np.full(count, turn, np.int32), boxes, sizes)
    shown = Pixels(places, values, np.zeros(channels, np.uint8))
    failed = dict(kernels.decode(files, headers, np.full(count, denominator, np.int32), one, shown, out, 2))
    assert all(failed.values())
    return [None if row in failed else out[row] for row in range(count)]


def pillows(data: bytes, denominator: int = 1, mode: str = "RGB") -> Any:
    image = Image.open(BytesIO(data))
    if denominator > 1:
        image.draft(image.mode, (image.width // denominator, image.height // denominator))
    return np.asarray(image.convert(mode))


def encoded(pixels: Any, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def picture(rng: np.random.Generator, height: int, width: int, noise: float = 20, coarse: int = 6) -> Any:
    """Smooth shapes with some noise, so that blocks differ in how many coefficients they have."""
    small = rng.integers(0, 256, (max(1, height // coarse), max(1, width // coarse), 3), np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return (smooth + rng.normal(0, noise, smooth.shape)).clip(0, 255).astype(np.uint8)


SIDES = st.one_of(st.integers(1, 90), st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 48]))


@st.composite
def files(draw: st.DrawFn) -> bytes:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    noise, coarse = draw(st.sampled_from([0, 5, 30, 120])), draw(st.sampled_from([2, 8, 100]))
    pixels = picture(rng, draw(SIDES), draw(SIDES), noise, coarse)
    options: dict[str, Any] = {"quality": draw(st.integers(1, 100)), "optimize": draw(st.booleans())}
    options["restart_marker_blocks"] = draw(st.sampled_from([0, 0, 1, 2, 5, 17]))
    if draw(st.integers(0, 4)) == 0:
        return encoded(pixels[..., 0], **options)
    return encoded(pixels, subsampling=draw(st.integers(0, 2)), **options)


def box_within(draw: Any, extent: Sequence[int]) -> list[int]:
    ends = [sorted(draw(st.lists(st.integers(0, side), min_size=2, max_size=2, unique=True))) for side in extent]
    return [ends[0][0], ends[1][0], ends[0][1], ends[1][1]]


# ---------------------------------------------------------------- what it decodes


@given(files(), st.sampled_from([1, 1, 2, 4, 8]))
@SLOW
def test_all_of_an_image_is_pillows(baseline: Any, data: bytes, denominator: int) -> None:
    height, width = baseline.jpeg_headers([data])[0, :2].tolist()
    assume(min(height, width) >= denominator)  # else Pillow takes another part of the size
    np.testing.assert_array_equal(decoded(baseline, [data], denominator)[0], pillows(data, denominator))


@given(files(), st.sampled_from([1, 2, 4, 8]), st.integers(0, 7), st.data())
@SLOW
def test_a_window_is_cut_out_of_it(baseline: Any, data: bytes, denominator: int, turn: int, draw: Any) -> None:
    whole = decoded(baseline, [data], denominator, turn=turn)[0]
    top, left, bottom, right = box = box_within(draw.draw, whole.shape[:2])
    window = decoded(baseline, [data], denominator, box, turn)[0]
    np.testing.assert_array_equal(window, whole[top:bottom, left:right])


@given(files(), st.sampled_from([1, 2, 4, 8]), st.data())
@SLOW
def test_the_installed_kernels_give_the_same(baseline: Any, data: bytes, denominator: int, draw: Any) -> None:
    """At each part of the size of whichever image, too: where they have libjpeg, it stands for what is below."""
    height, width = (-(-baseline.jpeg_headers([data])[0, :2] // denominator)).tolist()
    box = box_within(draw.draw, (height, width))
    expected = decoded(native.load(), [data], denominator, box)[0]
    if expected is not None:
        np.testing.assert_array_equal(decoded(baseline, [data], denominator, box)[0], expected)


@given(st.lists(st.tuples(st.integers(1, 100), st.booleans(), st.integers(0, 2)), min_size=1, max_size=6))
@settings(SLOW, max_examples=20)
def test_images_of_several_tables_one_after_the_other(baseline: Any, kinds: list[Any]) -> None:
    rng = np.random.default_rng(0)
    some = [
        encoded(picture(rng, 40, 50), quality=quality, optimize=optimize, subsampling=subsampling)
        for quality, optimize, subsampling in kinds
    ]
    for data, found in zip(some, decoded(baseline, some), strict=True):
        np.testing.assert_array_equal(found, pillows(data))


def test_an_image_of_many_bytes(baseline: Any) -> None:
    """More than are at hand at once, with and without restarts."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    for options in ({}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 1}):
        data = encoded(noise, quality=98, **options)
        assert len(data) > 100_000
        np.testing.assert_array_equal(decoded(baseline, [data])[0], pillows(data))


@pytest.mark.parametrize("blocks", [1, 3, 7, 20])
def test_what_lies_before_a_restart_is_left_out(baseline: Any, blocks: int) -> None:
    """So damage there is not noticed by a window below it, while one of everything does notice."""
    good = encoded(picture(np.random.default_rng(0), 128, 64), restart_marker_blocks=blocks, quality=95)
    first, second = good.index(b"\xff\xda") + 14, good.index(b"\xff\xd0")
    damaged = good[:first] + bytes(second - first) + good[second:]
    assert decoded(baseline, [damaged]) == [None]
    for box in ((100, 0, 128, 64), (81, 40, 90, 41)):
        np.testing.assert_array_equal(
            decoded(baseline, [damaged], box=box)[0], pillows(good)[box[0] : box[2], box[1] : box[3]]
        )


@pytest.mark.parametrize("more", [0, 1])
def test_damage_that_looks_like_a_restart_leads_nowhere(baseline: Any, more: int) -> None:
    """What follows it would be taken for what follows the true one, which is the same up to its number."""
    file = encoded(picture(np.random.default_rng(0), 64 + 32 * more, 80), restart_marker_blocks=10)
    scan = file.index(b"\xff\xda")
    begin = scan + 2 + int.from_bytes(file[scan + 2 : scan + 4], "big")
    box = (34, 0, 62, 80)
    np.testing.assert_array_equal(decoded(baseline, [file], box=box)[0], pillows(file)[34:62])
    assert decoded(baseline, [file[:begin] + b"\xff\xd0" + file[begin:]], box=box) == [None]


@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_large_coefficients(baseline: Any, denominator: int, subsampling: int) -> None:
    """Black and white pixels, in which one unit of a factor's last bit shows."""
    noise = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (400, 400, 3))
    data = encoded(noise, quality=100, subsampling=subsampling)
    np.testing.assert_array_equal(decoded(baseline, [data], denominator)[0], pillows(data, denominator))


def test_grey(baseline: Any) -> None:
    data = encoded(picture(np.random.default_rng(0), 30, 41)[..., 0])
    np.testing.assert_array_equal(decoded(baseline, [data], channels=1)[0][..., 0], pillows(data, mode="L"))


def test_codes_of_all_lengths(baseline: Any) -> None:
    """Pixels whose coefficients are rare ones, by the codes of annex K, which have up to 16 bits."""
    rng = np.random.default_rng(0)
    rare = np.kron(rng.choice([0, 255], (16, 16, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    for subsampling in range(3):
        for quality in (70, 95, 100):
            data = encoded(rare, quality=quality, subsampling=subsampling)
            np.testing.assert_array_equal(decoded(baseline, [data])[0], pillows(data))


# ---------------------------------------------------------------- what it leaves to others


def changed(data: bytes, marker: int, offset: int, value: int) -> bytes:
    """The file with another byte, so far behind the first segment of that marker."""
    place = data.index(bytes([0xFF, marker])) + 4 + offset
    return data[:place] + bytes([value]) + data[place + 1 :]


def strange() -> dict[str, bytes]:
    pixels = picture(np.random.default_rng(0), 40, 50)
    cmyk = BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "JPEG")
    plain, restarts = encoded(pixels), encoded(pixels, restart_marker_blocks=3)
    second = restarts.index(b"\xff\xd1")
    table = plain[plain.index(b"\xff\xc4") :]
    return {
        "progressive": encoded(pixels, progressive=True),
        "CMYK": cmyk.getvalue(),
        "twelve bits": changed(plain, 0xC0, 0, 12),
        "arithmetic": plain.replace(b"\xff\xc0", b"\xff\xc9"),
        "another sampling": changed(plain, 0xC0, 7, 0x41),
        "a later JFIF": changed(plain, 0xE0, 5, 9),
        "a code of ones alone": changed(plain, 0xC4, 1, 3),
        "a table that is missing": plain.replace(table[: 2 + int.from_bytes(table[2:4], "big")], b"", 1),
        "a quantisation of 16 bits": changed(plain, 0xDB, 0, 0x10),
        "a part of the coefficients": changed(plain, 0xDA, 8, 62),
        "names that say RGB": plain[: plain.index(b"\xff\xe0")]
        + plain[plain.index(b"\xff\xdb") :]
        .replace(b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01", b"\x03R\x22\x00G\x11\x01B\x11\x01")
        .replace(b"\x03\x01\x00\x02\x11\x03\x11", b"\x03R\x00G\x11B\x11"),
        "another restart": restarts[: second + 1] + b"\xd2" + restarts[second + 2 :],
        "bytes before a restart": restarts[:second] + b"\0" + restarts[second:],
        "no byte before a restart": restarts[: second - 1] + restarts[second:],
        "no end": plain[:-2],
        "half of it": plain[: len(plain) // 2],
        "half of it, and an end": plain[: len(plain) // 2] + b"\xff\xd9",
    }


@pytest.mark.parametrize("name", list(strange()))
def test_what_is_strange_is_left(baseline: Any, name: str) -> None:
    assert (baseline.decodes, baseline.has_libjpeg) == (True, False)
    assert decoded(baseline, [strange()[name]]) == [None]


@pytest.mark.parametrize("name", ["progressive", "names that say RGB"])
def test_what_is_strange_and_sound_is_decoded_by_libjpeg(name: str) -> None:
    kernels = native.load()
    if isinstance(kernels, str) or not kernels.has_libjpeg:
        pytest.skip("the kernels were built without libjpeg")
    np.testing.assert_array_equal(decoded(kernels, [strange()[name]])[0], pillows(strange()[name]))


def test_a_large_number_is_left(baseline: Any) -> None:
    """Blocks whose DC coefficients add up to what no image has: libjpegs differ in what they make of it."""
    grey = encoded(np.full((8, 400), 255, np.uint8), quality=100)
    brighter = changed(grey, 0xDB, 1, 255)
    assert decoded(baseline, [grey])[0] is not None
    assert decoded(baseline, [brighter]) == [None]


@given(
    files(),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    st.sampled_from([1.0, 1.0, 0.9]),
)
@settings(SLOW, max_examples=200)
def test_damage_gives_no_other_pixels(baseline: Any, data: bytes, changes: list[Any], rest: float) -> None:
    turbo = pytest.importorskip("simplejpeg", reason="it is strict")
    damaged = bytearray(data[: int(len(data) * rest)])
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    height, width, components, _ = baseline.jpeg_headers([bytes(damaged)])[0].tolist()
    assume(components and 0 < height * width <= 1 << 20)
    found = decoded(baseline, [bytes(damaged)])[0]
    if found is None:
        return
    try:
        expected = turbo.decode_jpeg(bytes(damaged))
    except ValueError as error:
        assert "extraneous bytes before marker" in str(error)  # noqa: PT017 - behind the last pixel, and all else is sound
        expected = turbo.decode_jpeg(bytes(damaged), strict=False)
    np.testing.assert_array_equal(found, expected)
