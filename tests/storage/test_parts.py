"""Rows of parts, held against the parts laid end to end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.storage.parts import Parts


@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=6), data=st.data())
def test_pieces_are_what_was_asked_for(lengths: list[int], data: st.DataObject) -> None:
    pairs = [(part, row) for part, length in enumerate(lengths) for row in range(length)]
    parts = Parts(lengths)
    assert len(parts) == len(pairs)
    assert [parts.find(index) for index in range(len(pairs))] == pairs
    indices = data.draw(st.lists(st.integers(0, len(pairs) - 1), max_size=12)) if pairs else []
    pieces = parts.split(np.array(indices, np.int64))
    assert pieces
    found: dict[int, tuple[int, int]] = {}
    for piece in pieces:
        found |= {
            position: (piece.part, row)
            for position, row in zip(piece.positions.tolist(), piece.rows.tolist(), strict=True)
        }
    assert [found[position] for position in range(len(indices))] == [pairs[index] for index in indices]
    assert len({piece.part for piece in pieces}) == len(pieces)
