"""How far the pixels of JPEGs that are decoded at a part of their size are from those of decoding all and scaling.

    python -m benchmarks.reduced [--smoke] [PHOTO ...]

Each photo is scaled to just under 1/2, 1/4 and 1/8 of its size, by headrace and, from all of its pixels, by Pillow.
Values are 0 ... 255. Without a photo the image is noise, which is sharper than any photograph.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
from benchmarks.common import Comparison, Measurement, begin_with, show
from PIL import Image

from headrace import Compose, Decode, Resize

DENOMINATORS = (2, 4, 8)


def noise(size: int) -> bytes:
    """A JPEG whose neighbouring pixels have nothing to do with each other."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()


def print_differences(name: str, data: bytes) -> None:
    """Print the differences of one image, a line for each part of its size."""
    pixels = Decode()(data)
    results = []
    for denominator in DENOMINATORS:
        height, width = (max(1, extent // denominator - 1) for extent in pixels.shape[:2])
        reduced = Compose([Decode(), Resize((height, width))])(data).astype(int)
        whole = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        difference = np.abs(reduced - whole)
        percentile = np.percentile(difference, 99)
        figures: dict[str, float | str] = {
            "mean": float(difference.mean()),
            "99 % within": int(percentile),
            "largest": int(difference.max()),
        }
        results.append(Measurement(f"headrace, decoded at 1/{denominator}", figures=figures))
    title = f"pixels unlike those of decoding all with Pillow: {name}, {pixels.shape[1]} x {pixels.shape[0]}"
    show(Comparison(title, tuple(results)))


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description="pixels of JPEGs that are decoded at a part of their size")
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="JPEG files")
    options = begin_with(parser)
    for photo in options.photos:
        print_differences(photo.name, photo.read_bytes())
    if not options.photos:
        print_differences("noise", noise(64 if options.smoke else 512))


if __name__ == "__main__":
    main()
