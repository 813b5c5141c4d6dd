"""Levels counted and numbered, in memory that follows the text."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rowcast.training.columns.levels import count_levels, level_numbers


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=1))
def test_levels_come_in_order_with_their_rows(texts):
    levels, counts = count_levels(np.array(texts, dtype=object))
    assert levels == sorted(set(texts))
    assert counts.tolist() == [texts.count(level) for level in levels]
    assert [levels[i] for i in level_numbers(np.array(texts, dtype=object))] == texts


def test_one_text_of_a_megabyte_does_not_make_every_text_as_large():
    texts = np.array(["b", "a", "é", "a"] * 40_000 + ["z" * 2**20], dtype=object)
    levels, counts = count_levels(texts)
    assert [level[:1] for level in levels] == ["a", "b", "z", "é"]
    assert counts.tolist() == [80_000, 40_000, 1, 40_000]
    assert level_numbers(texts)[[0, 1, 2, -1]].tolist() == [1, 0, 3, 2]
