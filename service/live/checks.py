"""What a version has to pass before it may go live: it is run as a worker would run it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import orjson

from rowcast.models.errors import ModelRefused, RequestError
from rowcast.models.interface import differences
from rowcast.models.repository import StoredModel
from rowcast.models.session import WARM_UP_ROWS, Session
from rowcast.models.signature import Signature
from rowcast.service.columns.blocks import Layout
from rowcast.service.columns.named import Columns
from rowcast.service.engine.batch_size import SIZES
from rowcast.service.engine.runner import NotFinite, Runner, Unread
from rowcast.service.live.made_rows import made_rows
from rowcast.service.protocols.rows.codec import RowsCodec
from rowcast.service.protocols.rows.encode import Encoder

SLOWEST_ROW_SECONDS = 0.25
"""How long a run of one row may take, of the processor's time, whatever its values. A run of a worker holds up all
others."""
_TIMED_RUNS = 3


class Refused(Exception):
    """A version that may not go live.

    Args:
        kind: of the reason, in a word: for a metric.
        why: for a person.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def check_signature(stored: StoredModel, old: Signature, name_of_old: str) -> None:
    """Make sure that clients of the version that is served may go on as before.

    Raises:
        Refused: they may not; says which columns come and go.
    """
    found = differences(old, stored.manifest.signature)
    if found:
        version = f"{stored.manifest.name}:{stored.manifest.version}"
        raise Refused(
            "signature",
            f"its signature is not that of {name_of_old}: {'; '.join(found)}. To serve it all the same: "
            f"rowcast models promote {version} --allow-signature-change",
        )


def check_runs(stored: StoredModel, old: Signature | None, device: str) -> None:
    """Run a version as a worker would, on all that is known to be asked.

    Args:
        stored: the version.
        old: the signature of the version that it is to replace, whose example it has to answer; None for no such.
        device: that it is served on.

    Raises:
        Refused: it cannot be loaded, takes too long, fails, or answers with what is no finite number.
    """
    try:
        session = Session.of(stored, device)
    except ModelRefused as error:
        raise Refused("damaged", str(error)) from None
    except ValueError as error:  # the signature in the graph is none
        raise Refused("damaged", str(error).splitlines()[0]) from None
    manifest, signature = stored.manifest, stored.manifest.signature.public()
    layout = Layout(manifest.signature)
    codec = RowsCodec(signature, Encoder(manifest.name, manifest.version, signature), 1)
    run = Runner(session, layout, lambda _: None)
    timed = partial(_timed, run, time.thread_time if session.provider == _CPU else time.perf_counter)
    timed(_missing(layout, 1), "rows whose every value is missing")
    examples = {"its own example": signature} if old is None else {"its own example": signature, _LAST: old.public()}
    for which, asked in examples.items():
        body = orjson.dumps({"rows": [asked.example_row()]})
        answer = timed(Unread(body, codec), which)
        if isinstance(answer, RequestError):
            raise Refused("example", f"it does not take {which}: {answer}")
    made = made_rows(layout)
    for row in range(len(made)):
        timed(made[row : row + 1], "a row made from its signature")
    _run(run, made, f"{len(made)} rows made from its signature")
    for rows in (*WARM_UP_ROWS, *reversed(SIZES)):
        _run(run, _missing(layout, rows), f"{rows} rows whose every value is missing")


_CPU = "CPUExecutionProvider"
_LAST = "the example of the version that is served"


def _timed(run: Runner, clock: Callable[[], float], request: Columns | Unread, what: str) -> Any:
    """What a run gives for one row, which has to be there in time. A row that takes too long is run again: the first
    run is a slower one.

    Raises:
        Refused: it takes longer, or fails.
    """
    least = float("inf")
    for _ in range(_TIMED_RUNS):
        started = clock()
        answer = _run(run, request, what)
        least = min(least, clock() - started)
        if least <= SLOWEST_ROW_SECONDS:
            return answer
        if least > 4 * SLOWEST_ROW_SECONDS:
            break
    raise Refused("slow", f"a row must take at most {SLOWEST_ROW_SECONDS:g} s, got {least:.2f} s for {what}")


def _run(run: Runner, request: Columns | Unread, what: str) -> Any:
    """What a run gives for a request.

    Raises:
        Refused: it fails.
    """
    try:
        return run([request])[0]
    except NotFinite:
        raise Refused("not_finite", f"it answers {what} with a number that is not finite") from None
    except Exception as error:  # noqa: BLE001 - whatever ONNX Runtime and a graph of somebody's may come to
        words = str(error).splitlines() or [type(error).__name__]
        raise Refused("fails", f"it cannot answer {what}: {words[0][:300]}") from None


def _missing(layout: Layout, rows: int) -> Columns:
    """So many rows whose every value is missing."""
    return Columns([np.full((len(b), rows, 1), b[0].missing, b[0].dtype) for b in layout.blocks])
