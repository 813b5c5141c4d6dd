"""Class labels in the type of the target they come from. A graph and a service give them as strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

LabelType: TypeAlias = Literal["text", "integer", "number", "boolean"]
"""What the target's values were: strings, whole numbers, decimals, or true and false."""
LABEL_TYPE = "label_type"
"""The key of ``data`` in ``model.json`` that says it; without it labels are texts."""
_DTYPES = {"integer": np.int64, "number": np.float64, "boolean": np.bool_}


def typed_label(label: str, of: LabelType) -> str | int | float | bool:
    """A label as the target had it.

    >>> [typed_label("3", of) for of in ("integer", "number", "text")], typed_label("true", "boolean")
    ([3, 3.0, '3'], True)
    """
    if of == "integer":
        return int(label)
    if of == "number":
        return float(label)
    return label == "true" if of == "boolean" else label


def typed_labels(labels: Sequence[str], classes: Sequence[str], of: LabelType) -> Any:
    """Labels of rows as the target had them, ``[rows]``: an array of int64, float64 or bool, or a list of strings.

    Args:
        labels: of the rows.
        classes: all labels there are.
        of: what the target held.
    """
    if of == "text":
        return labels
    typed = {label: typed_label(label, of) for label in classes}
    return np.array([typed[label] for label in labels], _DTYPES[of])


def label_type_of(classes: Sequence[str], came: str) -> LabelType:
    """The type of labels whose values came as ``came``.

    Args:
        classes: all labels there are.
        came: a :data:`LabelType`; or ``written``, where a file held them as text and what they are texts of counts.
    """
    if came == "written":
        kinds: tuple[LabelType, ...] = ("boolean", "integer", "number")
        return next((kind for kind in kinds if all(_is(label, kind) for label in classes)), "text")
    return next((kind for kind in get_args(LabelType) if kind == came and all(_is(c, kind) for c in classes)), "text")


def _is(label: str, of: LabelType) -> bool:
    """Whether a label is the one text of such a value, or at least some text of it where it is a decimal."""
    try:
        typed = typed_label(label, of)
    except (ValueError, OverflowError):
        return False
    if of == "integer":
        return str(typed) == label and -(2**63) <= int(typed) < 2**63
    if of == "number":
        return bool(np.isfinite(float(typed))) and label.isascii() and label[:1] not in "+_" and "_" not in label
    return label in ("true", "false") if of == "boolean" else True
