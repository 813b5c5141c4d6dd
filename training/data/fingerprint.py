"""A fingerprint of some rows of a table: whether two fits had the same ones, without a word about which they were."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.training.data.split import Split
from rowcast.training.data.table import Table


def fingerprints(table: Table, values: NDArray[Any], split: Split, apart: dict[str, NDArray[Any]]) -> dict[str, str]:
    """SHA-256 of each part of a table: of which rows it has, and of their targets.

    Whatever a split depends on (the seed, shares, rows without a target or of weight 0) shows in it.

    Args:
        table: the rows that were split.
        values: their targets, ``[rows]``.
        split: positions in the table.
        apart: targets of parts that came as tables of their own, in their order.
    """
    found = {}
    for part in ("train", "validation", "test"):
        at = np.sort(getattr(split, part))
        found[part] = _of(np.zeros(0, np.int64), apart[part]) if part in apart else _of(table.keys[at], values[at])
    return found


def _of(rows: NDArray[np.int64], values: NDArray[Any]) -> str:
    digest = hashlib.sha256(np.array([len(rows), len(values)], "<i8").tobytes())
    digest.update(rows.astype("<i8").tobytes())
    labels = values.dtype == object
    digest.update(json.dumps(values.tolist()).encode() if labels else values.astype("<f8").tobytes())
    return digest.hexdigest()
