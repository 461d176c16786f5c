from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from headrace import DataLoader
from headrace.errors import ArgumentTypeError
from headrace.formats.records import RecordDataset, split
from headrace.io.source import Packed
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Words(RecordDataset):
    def __init__(self, decode: Any = None) -> None:
        super().__init__(decode)
        self.reads = 0

    def __len__(self) -> int:
        return 50

    def read_records(self, indices: NDArray[np.int64]) -> list[bytes]:
        self.reads += 1
        return [b"word %d" % index for index in indices]

    def where(self, index: int) -> str:
        return f"line {index} of words.txt"


def number(record: bytes) -> int:
    return int(record.split()[1])


def noisy(record: bytes) -> float:
    return number(record) + float(headrace.sample_rng().random())


class Upper(headrace.Transform):
    batched = True

    def __call__(self, sample: Any) -> Any:
        return self.apply_batch([sample])[0]

    def apply_batch(self, batch: Any) -> Any:
        return [record.upper() for record in batch]


@pytest.mark.parametrize("decode", [None, number, noisy, Upper()])
def test_keeps_the_rules(decode: Any) -> None:
    check_dataset(Words(decode), negative=True, picklable=True)


def test_a_batch_is_read_at_once() -> None:
    words = Words()
    (batch,) = DataLoader(words.subset([3, 1]), batch_size=2)
    assert batch == [b"word 3", b"word 1"]
    assert words.reads == 1
    assert DataLoader(Words(number), batch_size=3).batch(1, 0).tolist() == [3, 4, 5]


def test_what_fails_is_named() -> None:
    def fail(record: bytes) -> int:
        if record == b"word 7":
            raise KeyError("label")
        return 0

    with pytest.raises(KeyError) as caught:
        list(DataLoader(Words(fail), batch_size=10))
    assert "while decoding sample 7: line 7 of words.txt" in caught.value.__notes__


def test_threads_serve_where_the_gil_is_released() -> None:
    assert Words().releases_gil()
    assert not Words(number).releases_gil()


def test_decode_is_checked() -> None:
    with pytest.raises(ArgumentTypeError, match="decode must be a function of the bytes of one record or None, but"):
        Words("jpg")


@given(st.lists(st.binary(max_size=300)))
def test_split(records: list[bytes]) -> None:
    bounds = np.cumsum([0, *map(len, records)])
    assert split(Packed(np.frombuffer(b"".join(records), np.uint8), bounds)) == records
