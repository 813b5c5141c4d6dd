"""Words of texts: which a model knows, and which of them a text holds.

A word is what stands between two spaces, and only a text's first :data:`WORDS_READ` are read: so much and no more is
done by ``StringSplit`` and ``TfIdfVectorizer`` of ONNX, which do in the graph what is done here. Both look words up as
they are, so each form of a word that counts as the same is an entry of its own: in small letters, with a capital, in
capitals; and each of these with one mark after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

WORDS_READ = 256
"""Words of a text that are read: what a text costs is bounded, however long it is."""
MARKS = ",.!?;:"
"""One of these may stand after a word."""
_ROWS_AT_ONCE = 50_000

Forms = Mapping[str, int]
"""Every form of every word that is known, and the word's place in the vocabulary."""


def forms_of(word: str) -> list[str]:
    """The forms in which a word is known."""
    bare = dict.fromkeys((word, word.capitalize(), word.upper()))
    return [form + mark for form in bare for mark in ("", *MARKS)]


def word_of(form: str) -> str | None:
    """The word that a form is one of; None for what is a form of none, as with two marks behind it."""
    bare = form[:-1] if form[-1] in MARKS else form
    word = bare.lower()
    return word if word and word[-1] not in MARKS and bare in (word, word.capitalize(), word.upper()) else None


def forms_in(vocabulary: Sequence[str]) -> dict[str, int]:
    """The forms of all words of a vocabulary; one that two share is the earlier one's."""
    forms: dict[str, int] = {}
    for place, word in enumerate(vocabulary):
        for form in forms_of(word):
            forms.setdefault(form, place)
    return forms


def word_vocabulary(texts: NDArray[Any], min_rows: int, most: int) -> dict[str, int]:
    """The words that a model knows and the training rows that hold each, commonest first, ties by word.

    A word that fewer than ``min_rows`` rows hold could point at a person, and one that all but so few hold tells
    nothing, or does of those few.

    Args:
        texts: of the training rows ``[rows]``, ``""`` where missing.
        min_rows: rows of a word, or it is not known.
        most: words at most.
    """
    rows: dict[str, int] = {}
    n_texts = int(np.count_nonzero(texts != ""))
    for tokens in _tokens(texts):
        distinct = tokens["token"].unique()
        words = [word_of(form) for form in distinct]
        named = pl.DataFrame({"token": distinct, "word": pl.Series(words, dtype=pl.String)}).drop_nulls()
        held = tokens.join(named, on="token").select("row", "word").unique()
        for word, count in held["word"].value_counts(name="rows").iter_rows():
            rows[word] = rows.get(word, 0) + int(count)
    known = [(word, count) for word, count in rows.items() if min_rows <= count <= n_texts - min_rows]
    return dict(sorted(known, key=lambda item: (-item[1], item[0]))[:most])


def words_in(texts: NDArray[Any], forms: Forms) -> NDArray[np.int32]:
    """The places of the known words of each text, each once, and -1 to fill up: ``[rows, most of a text]``."""
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    entries = pl.DataFrame({"token": list(forms), "word": list(forms.values())}, {"token": pl.String, "word": pl.Int64})
    for tokens in _tokens(texts):
        held = tokens.join(entries, on="token").select("row", "word").unique().sort("row", "word")
        found.append((held["row"].to_numpy().astype(np.int64), held["word"].to_numpy()))
    rows, words = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else (np.zeros(0, int),) * 2
    counts = np.bincount(rows, minlength=len(texts))
    places = np.full((len(texts), int(counts.max(initial=0))), -1, np.int32)
    at = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    places[rows, at] = words
    return places


def words_a_text(texts: NDArray[Any]) -> float:
    """How many words a text has on average, of those that are read; 0 where there is none.

    Args:
        texts: ``[rows]``, ``""`` where missing.
    """
    n_texts = int(np.count_nonzero(texts != ""))
    return sum(len(tokens) for tokens in _tokens(texts)) / n_texts if n_texts else 0.0


def _tokens(texts: NDArray[Any]) -> Iterator[pl.DataFrame]:
    """What stands between the spaces of each text, ``row token``, a bounded number of rows at a time."""
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        part = pl.Series("token", texts[start : start + _ROWS_AT_ONCE].tolist(), dtype=pl.String)
        frame = pl.DataFrame({"row": np.arange(start, start + len(part)), "token": part.str.split(" ")})
        frame = frame.with_columns(
            pl.col("token").list.eval(pl.element().filter(pl.element() != "")).list.head(WORDS_READ)
        )
        yield frame.explode("token").drop_nulls()
