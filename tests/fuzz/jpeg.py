"""Feed changed images to the decoders: the C under sanitizers, and `decode` with all that Pillow reads.

    python tests/fuzz/jpeg.py [--count 100000] [--seed 0]

The C is built with AddressSanitizer and UndefinedBehaviorSanitizer, and leaks count, so that the first wrong access
ends the run with a report. So do pixels other than libjpeg's, or of rows in which it finds damage. `decode` may give
an array or raise DecodeError; anything else ends the run, too.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import warnings
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import DecodeError
from headrace.images.codecs.decode import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SECONDS = 3600


def seeds(mode: str = "RGB") -> Iterator[tuple[str, bytes]]:
    """Small images of many kinds: name and bytes."""
    from PIL import Image

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8))
    picture = noise.resize((75, 61), 3).convert(mode)
    kinds: dict[str, dict[str, object]] = {
        "420": {},
        "422": {"subsampling": 1},
        "444": {"subsampling": 0},
        "progressive": {"progressive": True},
    }
    kinds |= {"restarts": {"restart_marker_blocks": 3}, "optimised": {"optimize": True}}
    for name, options in kinds.items():
        yield f"{name}.jpg", _encoded(picture, "JPEG", **options)
    for name, size in {"thin": (3, 61), "flat": (75, 1), "17x17": (17, 17)}.items():
        yield f"{name}.jpg", _encoded(picture.crop((0, 0, *size)), "JPEG")
    yield "grey.jpg", _encoded(picture.convert("L"), "JPEG")
    yield "cmyk.jpg", _encoded(picture.convert("CMYK"), "JPEG")
    yield "grey-progressive.jpg", _encoded(picture.convert("L"), "JPEG", progressive=True)


def others() -> Iterator[tuple[str, bytes]]:
    """Images that Pillow decodes: name and bytes."""
    from PIL import Image

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8))
    for form in ("PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000"):
        yield f"1.{form.lower()}", _encoded(noise, form)
    yield "palette.png", _encoded(noise.convert("P"), "PNG")


def _encoded(image: object, form: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)  # type: ignore[attr-defined]
    return file.getvalue()


def compiler() -> str | None:
    """A compiler of C that has the sanitizers and libjpeg-turbo; None where there is none."""
    program = "#include <stdio.h>\n#include <jpeglib.h>\nint main(void) { return !jpeg_std_error; }"
    for name in ("gcc", "clang", "cc"):
        if shutil.which(name) is None:
            continue
        with TemporaryDirectory() as folder:
            command = [name, *SANITIZERS, "-x", "c", "-", "-o", f"{folder}/probe", "-ljpeg"]
            built = subprocess.run(command, input=program.encode(), capture_output=True, check=False)
            if built.returncode == 0 and subprocess.run([f"{folder}/probe"], check=False).returncode == 0:
                return name
    return None


def fuzz_native(count: int, seed: int, using: str) -> str:
    """Run the C on so many inputs; what it says of them.

    Raises:
        CalledProcessError: a sanitizer has found something; its report is in `stderr`.
    """
    with TemporaryDirectory() as folder:
        program = f"{folder}/jpeg"
        sources = [*map(str, sorted((ROOT / "native").glob("*/*.c"))), str(Path(__file__).with_suffix(".c"))]
        folders = [f"-I{each}" for each in sorted((ROOT / "native").iterdir())]
        options = ["-std=c11", "-g", "-O1", "-ffp-contract=off", "-DHEADRACE_JPEG", *folders]
        libraries = ["-ljpeg", "-lm", "-lpthread"]
        subprocess.run([using, *SANITIZERS, *options, *sources, *libraries, "-o", program], check=True)
        files = []
        for name, data in seeds():
            Path(folder, name).write_bytes(data)
            files.append(f"{folder}/{name}")
        command = [program, str(seed), str(count), *files]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.strip()


def fuzz_decode(count: int, seed: int) -> str:
    """Call `decode` with so many inputs; what came of them."""
    rng = np.random.default_rng(seed)
    files = [data for _, data in [*seeds(), *others()]]
    decoded = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on odd things that it reads nevertheless
        for number in range(count):
            try:
                decode(_changed(files[number % len(files)], rng), max_pixels=1 << 20)
            except DecodeError:
                continue
            decoded += 1
    return f"{count} inputs, of which {decoded} were decoded"


def _changed(data: bytes, rng: np.random.Generator) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    reach = len(data) if rng.random() < 0.5 else min(len(data), 200)
    places = rng.integers(0, reach, rng.integers(1, 6))
    changed[places] = rng.integers(0, 256, len(places))
    return changed[: rng.integers(0, len(data)) if rng.random() < 0.2 else len(data)].tobytes()


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description="changed images for the decoders")
    parser.add_argument("--count", type=int, default=100_000, help="inputs for each of the two")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    using = compiler()
    found = fuzz_native(options.count, options.seed, using) if using else "no compiler has them"
    sys.stdout.write(f"C, under sanitizers: {found}\n")
    sys.stdout.write(f"decode: {fuzz_decode(options.count, options.seed)}\n")
    sys.exit(0 if using else 2)


if __name__ == "__main__":
    main()
