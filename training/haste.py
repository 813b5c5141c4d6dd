"""After a signal: what follows the fit looks at so few rows that the model is published within seconds.

Whoever presses Ctrl-C waits; torchrun and container managers kill what does not end in time. Tables of some thousand
rows are not affected: all of their rows are looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.prepare import Part, Prepared

CALIBRATION_S = 0.25
"""What the network may take for the rows that it is calibrated on."""
METRICS_S = 0.15
"""What the graph may take for the rows of either part that metrics are of."""
LEAST_ROWS = 1_000
HASTY_GATE = (200, 1_000)
"""Held-out rows that the gate looks at, beside all adversarial ones; and values that it runs in batches of one row."""
_TRIED_ROWS = 256


def some_to_calibrate_on(part: Part, interrupt: Interrupt | None, ask: Callable[[Part], object]) -> tuple[Part, str]:
    """The validation rows to calibrate on: after a signal as many as there is time for, else all.

    Args:
        part: validation rows.
        interrupt: of the fit.
        ask: has the network answer rows.

    Returns:
        rows, and the decision; empty where they are all.
    """
    if not interrupt:
        return part, ""
    some = _some(part, CALIBRATION_S, ask)
    if some is part:
        return part, ""
    return some, f"after {interrupt.name} calibration looks at {len(some):,} of {len(part):,} validation rows"


def some_to_measure(
    prepared: Prepared, interrupt: Interrupt, ask: Callable[[Part], object], known: Collection[str] = ()
) -> tuple[Prepared, str]:
    """A table with the validation and test rows that metrics are of: after a signal as many as there is time for.

    Args:
        prepared: the table.
        interrupt: of the fit.
        ask: has the graph answer rows.
        known: parts whose answers are known already, all of which are measured.

    Returns:
        the table with these rows, and the decision; empty where they are all.
    """
    if not interrupt:
        return prepared, ""
    parts = {"validation": prepared.validation, "test": prepared.test}
    fewer = {
        name: _some(part, METRICS_S, ask) if len(part) and name not in known else part for name, part in parts.items()
    }
    told = [
        f"{len(fewer[name]):,} of {len(part):,} {name} rows" for name, part in parts.items() if fewer[name] is not part
    ]
    if not told:
        return prepared, ""
    note = f"after {interrupt.name} metrics and report are those of {' and '.join(told)}: `rowcast evaluate` takes all"
    return replace(prepared, validation=fewer["validation"], test=fewer["test"]), note


def _some(part: Part, seconds: float, ask: Callable[[Part], object]) -> Part:
    """As many rows as are answered in so many seconds, evenly among all; the part itself if that is all."""
    if len(part) <= LEAST_ROWS:
        return part
    started = time.perf_counter()
    ask(rows_of(part, _TRIED_ROWS))
    each = (time.perf_counter() - started) / _TRIED_ROWS
    most = max(LEAST_ROWS, int(seconds / each))
    return part if len(part) <= most else rows_of(part, most)


def rows_of(part: Part, n: int) -> Part:
    """Some rows of a part, evenly among all, in their order."""
    at = np.linspace(0, len(part) - 1, n).astype(np.int64)
    weight = None if part.weight is None else part.weight[at]
    return Part({name: values[at] for name, values in part.columns.items()}, part.target[at], weight)
