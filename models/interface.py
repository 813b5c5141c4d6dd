"""What clients of a model rely on, and how another version's differs: the part of a signature that must not change
under them.

What training saw (medians, levels, which words it knows) may differ in every version. Columns, their kinds and their
order, the classes, and what is taken for a value may not: a request that was right would be wrong, or mean something
else.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from rowcast.models.printable import printable
from rowcast.models.signature import Column, Signature

_NAMED = 10
"""Columns that are named; of others it is told how many there are."""


def differences(old: Signature, new: Signature) -> list[str]:
    """What a client of one version would notice in another: a sentence's part each; empty where it is nothing.

    A column that may be left out, though training of the old version saw it in every row, is no difference: whoever
    sends it is right as before.

    Args:
        old: of the version that clients know.
        new: of the other.
    """
    before = {column.name: column for column in old.columns}
    after = {column.name: column for column in new.columns}
    found = []
    if old.task != new.task:
        found.append(f"it is {new.task}, no longer {old.task}")
    if old.target != new.target:
        found.append(f"it predicts {_quoted([new.target])}, no longer {_quoted([old.target])}")
    if old.outputs != new.outputs:
        found.append(f"it answers {', '.join(new.outputs)}, no longer {', '.join(old.outputs)}")
    elif old.classes != new.classes:
        found.append(f"its classes are {_quoted(new.classes)}, no longer {_quoted(old.classes)}")
    if gone := [name for name in before if name not in after]:
        found.append(f"without {_quoted(gone)}")
    if come := [name for name in after if name not in before]:
        found.append(f"with {_quoted(come)}")
    both = [(before[name], after[name]) for name in before if name in after]
    found += [line for line in (_difference(*pair) for pair in both) if line][:_NAMED]
    if not found and old.names != new.names:
        found.append("its columns are in another order")
    return found


def _difference(old: Column, new: Column) -> str:
    name = _quoted([old.name])
    if old.kind != new.kind:
        return f"{name} is {new.kind}, no longer {old.kind}"
    if old.nullable and not new.nullable:
        return f"{name} may not be left out any more"
    if old.levels_of is not None and old.levels_of != new.levels_of:
        return f"{name} is no longer a category of {old.levels_of} values"
    if old.reading is not None and old.reading != new.reading:
        return f"texts of {name} are read in another way"
    return ""


def _quoted(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _NAMED
    shown = ", ".join(repr(printable(name)) for name in islice(names, _NAMED))
    return shown + (f" and {more:,} more" if more > 0 else "")
