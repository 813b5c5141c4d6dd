"""Random numbers that hang on a row's number and a seed alone, so that they need no memory and no order of reading."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray


def of_rows(start: int, n: int, seed: int, purpose: str) -> NDArray[np.float64]:
    """A number from 0 to below 1 for each of ``n`` rows from the 0-based row ``start`` on, ``[n]``.

    SplitMix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators") of the row's number.
    """
    with np.errstate(over="ignore"):
        state = np.uint64(_digest(f"{seed} {purpose}")) + np.arange(start + 1, start + n + 1, dtype=np.uint64) * _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def of_texts(texts: NDArray[np.object_], seed: int, purpose: str) -> NDArray[np.float64]:
    """A number from 0 to below 1 for each text ``[rows]``, the same for equal texts."""
    series = pl.Series("text", texts.tolist(), dtype=pl.String)
    distinct = series.unique()
    numbers = _numbers(distinct, f"{seed} {purpose}")
    return series.replace_strict(distinct, numbers, return_dtype=pl.Float64).to_numpy()


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _numbers(texts: Iterable[str], salt: str) -> list[float]:
    return [(_digest(f"{salt} {text}") >> 11) * 2.0**-53 for text in texts]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
