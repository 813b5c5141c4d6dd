"""Texts as a network can take them: of each, which of the known words it holds, and whether it is missing.

A row is a *bag* of words: for each column that is read word by word a 1 where it is missing, and a 1 for each known
word, whatever their order and number. Training keeps the places of these 1s, since of thousands of words a text holds a
dozen; a batch is written out, as the graph writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rowcast.models.signature import MISSING_STRING
from rowcast.training.columns.texts import WordLimits
from rowcast.training.columns.words import forms_in, word_vocabulary, words_in

MOST_WORDS = 8_000
"""Words of all columns together: a row takes four bytes for each."""


class WordBags:
    """Which words a row's texts hold.

    Args:
        words: the known words of each column, in the order of their places.
        nulls: the texts of each column that mean missing.
    """

    def __init__(self, words: Mapping[str, Sequence[str]], nulls: Mapping[str, Sequence[str]]) -> None:
        self.nulls = {name: tuple(texts) for name, texts in nulls.items()}
        self.counts = tuple(len(known) + 1 for known in words.values())
        """1s that each column may have: one for missing, and one for each word."""
        self.forms = {name: forms_in(known) for name, known in words.items()}

    @property
    def width(self) -> int:
        """Of all columns."""
        return sum(self.counts)

    def places(self, columns: Mapping[str, NDArray[Any]]) -> Tensor | None:
        """Where the 1s of each row are, in order, and -1 to fill up: ``[rows, most of a row]`` int32; None without such
        columns.

        Args:
            columns: texts ``[rows]`` by name.
        """
        if not self.counts:
            return None
        found, start = [], 0
        for (name, forms), count in zip(self.forms.items(), self.counts, strict=True):
            texts = columns[name]
            missing = np.isin(texts, np.array(self.nulls[name], object)) if len(texts) else np.zeros(0, bool)
            words = words_in(np.where(missing, MISSING_STRING, texts), forms)
            places = np.concatenate([np.where(missing, 0, -1)[:, None], np.where(words < 0, -1, words + 1)], axis=1)
            found.append(np.where(places < 0, -1, places + start))
            start += count
        places = np.concatenate(found, axis=1)
        most = int((places >= 0).sum(axis=1).max(initial=0))
        places = np.sort(np.where(places < 0, self.width, places), axis=1)[:, :most]
        return torch.from_numpy(np.where(places == self.width, -1, places).astype(np.int32))

    def of(self, places: Tensor | None) -> Tensor | None:
        """The bags of rows, ``[rows, width]`` float32, from what :meth:`places` gives."""
        if places is None:
            return None
        bags = torch.zeros(len(places), self.width + 1, device=places.device)
        return bags.scatter_(1, places.to(torch.int64) + 1, 1.0)[:, 1:]


def fit_words(
    columns: Mapping[str, NDArray[Any]], names: Sequence[str], limits: WordLimits
) -> dict[str, tuple[str, ...]]:
    """The words that are known of each column, commonest first.

    Args:
        columns: training rows ``[rows]`` by name.
        names: the columns that are read word by word.
        limits: which words are known.
    """
    most = min(limits.most, MOST_WORDS // max(1, len(names)))
    return {name: tuple(word_vocabulary(columns[name], limits.min_rows, most)) for name in names}
