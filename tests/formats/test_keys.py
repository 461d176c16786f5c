"""Keys among others, held against a dict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentTypeError
from headrace.formats.keys import concatenate, find_keys, pack_keys

KEYS = st.lists(st.binary(max_size=4) | st.sampled_from([b"a", b"a\0", b"a\0\0", b"\0", b"\xff"]), max_size=12)


@given(keys=KEYS, among=KEYS, in_order=st.booleans())
def test_keys_are_found(keys: list[bytes], among: list[bytes], in_order: bool) -> None:
    if in_order:
        among = sorted(among)
    found = find_keys(pack_keys(keys), pack_keys(among)).tolist()
    assert found == [among.index(key) if key in among else -1 for key in keys]


def test_keys_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.formats.keys._hashes", lambda rows: rows[:, 0] % np.uint64(3))
    among = [b"%d" % (number % 40) for number in range(50)]
    found = find_keys(pack_keys([b"39", b"7", b"x", b"0"]), pack_keys(among)).tolist()
    assert found == [39, 7, -1, 0]


def test_keys_are_packed() -> None:
    keys: list[str | bytes] = ["ä", b"", "bc"]
    packed = pack_keys(iter(keys))
    assert packed.buffer.tobytes() == "äbc".encode()
    assert packed.bounds.tolist() == [0, 2, 2, 4]
    both = concatenate([packed, pack_keys(np.array([b"x", b"yz"]))])
    assert both.buffer.tobytes() == "äbcxyz".encode()
    assert both.bounds.tolist() == [0, 2, 2, 4, 5, 7]
    assert len(pack_keys([]).bounds) == 1


@pytest.mark.parametrize("keys", [b"abc", "abc", [1], [None]])
def test_what_is_no_key(keys: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="key"):
        pack_keys(keys)
