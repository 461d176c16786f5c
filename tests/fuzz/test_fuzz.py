"""A few of the inputs that `python tests/fuzz/jpeg.py` feeds to the decoders by the hundred thousand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL", reason="Pillow makes the images that are changed")


def load() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_jpeg", Path(__file__).with_name("jpeg.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FUZZ = load()


def test_the_native_decoder_under_sanitizers() -> None:
    using = FUZZ.compiler()
    if using is None:
        pytest.skip("there is no compiler with sanitizers and libjpeg-turbo")
    assert "1500 inputs, of which" in FUZZ.fuzz_native(1500, 1, using)


def test_decode() -> None:
    assert "300 inputs, of which" in FUZZ.fuzz_decode(300, 1)
