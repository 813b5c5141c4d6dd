"""Which columns of text are read word by word: those that say nothing as levels, and whose words repeat."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from rowcast.models.signature import MISSING_STRING, PUBLIC_LEVEL_ROWS
from rowcast.training.columns.words import WORDS_READ, forms_in, word_vocabulary, words_a_text, words_in

MIN_TEXTS = 500
"""Training rows with a text, at least: words are many features, and of fewer rows a network learns them by heart."""
MIN_WORDS_A_TEXT = 3.0
"""Words of a text on average, at least: what has fewer is a name or a code."""
MIN_KNOWN = 10
"""Words that the model would know, at least."""
MIN_READ = 0.5
"""Share of the texts that hold a word which the model would know, at least."""
MOSTLY_LEVELS = 0.5
"""From this share of rows on whose level the model would know, a column that is declared a text is read as levels."""


class WordLimits(NamedTuple):
    """Which words a model knows of a text."""

    min_rows: int = PUBLIC_LEVEL_ROWS
    """Training rows of each, at least."""
    most: int = 0
    """Words at most; 0: no column is read word by word."""


class Words(NamedTuple):
    """What the words of a column would tell."""

    known: int
    """How many the model would know."""
    why_not: str = ""
    """Why they are of no use; empty where they are."""

    @property
    def sentence(self) -> str:
        """The end of a sentence that begins with the column's name."""
        which = f"which of {self.known:,} words" if self.known > 1 else "whether a word"
        return (
            f" is read word by word: {which} that training rows share stand among the first {WORDS_READ} of a text, "
            "with spaces between"
        )


def look_at_words(texts: pl.Series, limits: WordLimits, *, declared: bool) -> Words | None:
    """Whether a column is of use word by word; None where nobody would take it for a text.

    Args:
        texts: of the training rows; null where missing.
        limits: which words are known.
        declared: whether a person says that it is a text: then one word that repeats is enough.
    """
    values = texts.fill_null(MISSING_STRING).to_numpy().astype(object)
    if limits.most == 0 or (not declared and words_a_text(values) < MIN_WORDS_A_TEXT):
        return None
    n_texts = len(texts) - texts.null_count()
    if n_texts < MIN_TEXTS and not declared:
        return Words(0, f"fewer than {MIN_TEXTS:,} training rows hold a text")
    words = word_vocabulary(values, limits.min_rows, limits.most)
    if not words or (len(words) < MIN_KNOWN and not declared):
        known = f"only {len(words):,}" if words else "none"
        return Words(len(words), f"{known} of them is held by {limits.min_rows:,} training rows and not by all")
    read = np.count_nonzero((words_in(values, forms_in(list(words))) >= 0).any(axis=1)) / max(n_texts, 1)
    if read < MIN_READ and not declared:
        return Words(len(words), f"more than half of its texts hold none that {limits.min_rows:,} training rows share")
    return Words(len(words))
