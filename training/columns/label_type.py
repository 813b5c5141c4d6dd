"""What the values of a target were before they became the labels of classes."""

from __future__ import annotations

import polars as pl

from rowcast.models.labels import LabelType, label_type_of
from rowcast.training.columns.target import Target
from rowcast.training.data.table import Table


def label_type(table: Table, target: Target) -> LabelType:
    """The type in which Python gives the labels of a target.

    Args:
        table: as it was read, before the target was.
        target: of its rows.
    """
    column = table.frame[target.name]
    if table.lines is not None:
        came = "written"
    elif column.dtype == pl.Boolean:
        came = "boolean"
    elif column.dtype.is_numeric():
        came = "integer" if column.dtype.is_integer() else "number"
    elif target.name in table.typed:  # categories of pandas; 1.0 is written 1 there
        came = "written" if table.typed[target.name] == "number" else table.typed[target.name]
    else:
        came = "text"
    return label_type_of(target.classes, came)
