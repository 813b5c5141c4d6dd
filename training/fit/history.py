"""The history of a fit: a row for each look at the validation rows, and ``history.csv``, which keeps them.

With ``fit.seeds`` above 1 the rows of the fits follow one another. Each fit begins again at epoch 1; seconds go on.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from rowcast.models.errors import ModelRefused
from rowcast.models.plain_files import Folder
from rowcast.models.repository import StoredModel

if TYPE_CHECKING:
    import polars as pl

HISTORY_FILE = "history.csv"
_MOST_BYTES = 2**28


class Look(NamedTuple):
    """A look at the validation rows; one a row of the history."""

    epoch: int
    """From 1. An epoch of a large table has several looks."""
    train_loss: float
    """Mean loss of the epoch's steps so far."""
    validation_loss: float
    """Of the averaged weights, which are the ones that are kept."""
    learning_rate: float
    """Of the last step."""
    seconds: float
    """Since the fit began."""
    best: bool
    """Whether no look before was as good; the last one that was has the weights of the model."""


COLUMNS = Look._fields


def to_csv(history: Iterable[Look]) -> bytes:
    """A history as CSV with a header; its numbers are read back to the last bit."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows((*look[:-1], "true" if look.best else "false") for look in history)
    return text.getvalue().encode()


def history_of(model: StoredModel) -> pl.DataFrame:
    """The history of a stored model, a row for each look; empty where it was published before histories were kept.

    Raises:
        ModelRefused: the file is not the one that was published.
    """
    import polars as pl

    kinds = [pl.Int64(), pl.Float64(), pl.Float64(), pl.Float64(), pl.Float64(), pl.Boolean()]
    schema = pl.Schema(dict(zip(COLUMNS, kinds, strict=True)))
    expected = model.manifest.files.get(HISTORY_FILE)
    if expected is None:
        return pl.DataFrame(schema=schema)
    with Folder(model.path) as folder:
        content = folder.read(HISTORY_FILE, _MOST_BYTES)
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelRefused(f"{model.path / HISTORY_FILE} is not the file that was published: its SHA-256 differs")
    return pl.read_csv(content, schema=schema)
