"""Where each row of delimited text ends and how many fields it has, found with arrays over the whole text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 23
"""Bytes looked at a time: bounds the memory this takes, whatever the size of the file."""

_LF, _CR, _QUOTE = 10, 13, 34


def scan_rows(data: bytes, separator: str) -> Scan | None:
    """Find the rows of a text, or None where a quote or a carriage return stands where none may."""
    return scan_quoted(data, separator) if _QUOTE in data or _CR in data else scan_plain(data, separator)


@dataclass(frozen=True)
class Scan:
    """Every row of the text, the header being the first.

    ``ends`` are the byte offsets where rows end, their line end included; ``n_fields`` how many fields each has;
    ``lines`` the physical line each begins on. All ``[rows]`` int64.
    """

    ends: NDArray[np.int64]
    n_fields: NDArray[np.int64]
    lines: NDArray[np.int64]


def scan_plain(data: bytes, separator: str) -> Scan:
    """Find the rows of text without quotes and carriage returns."""
    bytes_ = np.frombuffer(data, np.uint8)
    ends, n_separators, pending = [], [], 0
    for start in range(0, len(data), CHUNK):
        chunk = bytes_[start : start + CHUNK]
        newlines = np.flatnonzero(chunk == _LF)
        counts, pending = _count_between(np.flatnonzero(chunk == ord(separator)), newlines, pending)
        ends.append(newlines + start + 1)
        n_separators.append(counts)
    return _close(data, ends, n_separators, pending, None)


def scan_quoted(data: bytes, separator: str) -> Scan | None:
    """Find the rows of any text, or None where a quote or a carriage return stands where none may."""
    bytes_ = np.frombuffer(data, np.uint8)
    ends, n_separators, lines, pending = [], [], [], 0
    inside_before, line = 0, 0
    for start in range(0, len(data), CHUNK):
        chunk = bytes_[start : start + CHUNK]
        inside = np.bitwise_xor.accumulate((chunk == _QUOTE).view(np.uint8)) ^ np.uint8(inside_before)
        outside = inside == 0
        if not _quotes_in_order(bytes_, np.flatnonzero(chunk == _QUOTE), start, inside, ord(separator)):
            return None
        returns = np.flatnonzero((chunk == _CR) & outside) + start + 1
        if np.any(bytes_[np.minimum(returns, len(data) - 1)] != _LF):
            return None
        newlines = np.flatnonzero(chunk == _LF)
        row_ends = newlines[outside[newlines]]
        counts, pending = _count_between(np.flatnonzero((chunk == ord(separator)) & outside), row_ends, pending)
        ends.append(row_ends + start + 1)
        n_separators.append(counts)
        lines.append(np.searchsorted(newlines, row_ends, side="right") + line)
        line += len(newlines)
        inside_before = int(inside[-1])
    if inside_before:
        return None
    return _close(data, ends, n_separators, pending, np.concatenate(lines))


def _quotes_in_order(
    data: NDArray[np.uint8], quotes: NDArray[np.int64], start: int, inside: NDArray[np.uint8], separator: int
) -> bool:
    """Whether each quote opens a field at its beginning, closes it at its end, or is half of a doubled quote."""
    opening = inside[quotes] == 1
    at = quotes + start
    before = data[np.maximum(at - 1, 0)]
    before[at == 0] = _LF
    after = data[np.minimum(at + 1, len(data) - 1)]
    after[at == len(data) - 1] = _LF
    may_precede = (before == separator) | (before == _LF) | (before == _QUOTE)
    may_follow = (after == separator) | (after == _LF) | (after == _QUOTE) | (after == _CR)
    return bool(np.all(np.where(opening, may_precede, may_follow)))


def _count_between(
    separators: NDArray[np.int64], row_ends: NDArray[np.int64], pending: int
) -> tuple[NDArray[np.int64], int]:
    """Separators of each row that ends in this chunk, and those of the row that is still open."""
    passed = np.searchsorted(separators, row_ends)
    counts = np.diff(passed, prepend=0)
    if len(counts) == 0:
        return counts, pending + len(separators)
    counts[0] += pending
    return counts, len(separators) - int(passed[-1])


def _close(
    data: bytes,
    ends: list[NDArray[np.int64]],
    n_separators: list[NDArray[np.int64]],
    pending: int,
    lines_after: NDArray[np.int64] | None,
) -> Scan:
    """Join the chunks, with the last row where it lacks its line end."""
    all_ends, counts = np.concatenate(ends), np.concatenate(n_separators)
    after = np.arange(2, len(all_ends) + 2) if lines_after is None else lines_after + 1
    lines = np.concatenate([[1], after])
    if len(all_ends) == 0 or all_ends[-1] < len(data):
        all_ends, counts = np.append(all_ends, len(data)), np.append(counts, pending)
    return Scan(all_ends, counts + 1, lines[: len(all_ends)])
