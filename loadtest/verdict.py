"""The outcome of a promise check, for a person and for a program."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import orjson
from rich.console import Console
from rich.table import Table

from rowcast.loadtest.openloop import PROBE, Result

Outcome = Literal["kept", "broken", "void"]
EXIT_CODES: dict[Outcome, int] = {"kept": 0, "broken": 1, "void": 3}
ACHIEVED_SHARE = 0.99
"""Share of the offered rate that has to come back as good answers."""
CLIENT_MAY_CAUSE = {"timeout", "unsent"}
"""Failures that may come of a client too busy to send and to read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model, known by its hash, answers within ``p99_ms`` at ``rate`` requests a second."""

    outcome: Outcome
    reason: str
    """One sentence; for a void run, what made it so."""
    url: str
    rate: float
    p99_ms: float
    """The promise."""
    duration_s: float
    seed: int
    connections: int
    errors: float = 0.0
    """Share of requests that may fail."""
    model: str | None = None
    """With ``version`` and ``sha256`` what the figures were measured on; None when the service could not be asked."""
    version: int | None = None
    sha256: str | None = None
    result: Result | None = None
    """What was measured; None when nothing was."""

    @property
    def exit_code(self) -> int:
        """0 kept, 1 broken, 3 void."""
        return EXIT_CODES[self.outcome]

    def to_json(self) -> str:
        """One line with one JSON object: every field, and ``exit_code``."""
        return orjson.dumps({**asdict(self), "exit_code": self.exit_code}).decode()

    def line(self) -> str:
        """The verdict in one line."""
        model = self.url if self.model is None else f"{self.model}:{self.version} (sha256 {(self.sha256 or '')[:12]})"
        return f"{self.outcome.upper()} {model}: {self.reason}"

    def show(self, console: Console | None = None) -> None:
        """Print a table of the figures, if there are any, and the verdict's line."""
        console = console or Console()
        if self.result is not None:
            console.print(_table(self, self.result))
        colour = {"kept": "green", "broken": "red", "void": "yellow"}[self.outcome]
        console.print(self.line(), style=colour, markup=False, highlight=False, soft_wrap=True)


def judge(
    result: Result, *, p99_ms: float, errors: float = 0.0, disagreement: str | None = None
) -> tuple[Outcome, str]:
    """Outcome and reason of a run.

    Where the service could not be reached the run is void, whatever failed besides. A saturated client makes it void
    only where its lateness may have decided. Kept stands: a request is timed from when it was due, so whatever the
    client lost counted against the service already. Broken stands if the service failed requests by itself, or would
    have been too slow for a client that is on time.

    Args:
        result: of the run.
        p99_ms: the promise.
        errors: share of requests that may fail.
        disagreement: how answers to one row differed, or how the model changed meanwhile.
    """
    wrong = result.wrong or disagreement
    if wrong is not None:
        return "void", f"wrong answers: {wrong}"
    if result.void is not None and not result.saturated:  # no connection was made, so nothing was sent
        return "void", result.void
    broken = []
    if result.p99_ms > p99_ms:
        broken.append(f"p99 is {result.p99_ms:.2f} ms, promised were {p99_ms:g} ms")
    admitted = errors * result.offered
    kinds = {kind: n for kind, n in sorted(result.errors.items()) if kind != PROBE}
    allowed = f", promised were {100 * errors:g}% at most" if errors else ""
    if result.failed > admitted:
        told = ", ".join(f"{kind}: {n:,}" for kind, n in kinds.items())
        probes = f" and {_probes(result.failed_probes)} failed" if result.failed_probes else ""
        broken.append(f"{result.failed:,} of {result.offered:,} requests failed ({told}){probes}{allowed}")
    elif result.failed_probes > admitted:
        broken.append(f"{_probes(result.failed_probes)} failed{allowed}")
    if result.achieved_rate < (ACHIEVED_SHARE - errors) * result.offered_rate:
        broken.append(f"{result.achieved_rate:,.1f} good answers/s came of {result.offered_rate:,.1f} requests/s")
    if not broken:
        return "kept", f"p99 is {result.p99_ms:.2f} ms of {p99_ms:g} ms at {result.offered_rate:,.1f} requests/s"
    by_itself = (
        (result.failed > admitted and kinds.keys() - CLIENT_MAY_CAUSE)
        or result.failed_probes > admitted
        or result.least_p99_ms > p99_ms
    )
    if result.void is not None and not by_itself:
        return "void", result.void
    return "broken", "; ".join(broken)


def _probes(n: int) -> str:
    return "1 probe" if n == 1 else f"{n:,} probes"


def _table(verdict: Verdict, result: Result) -> Table:
    table = Table(title=f"{result.offered:,} requests in {verdict.duration_s:g} s, seed {verdict.seed}")
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("promised", justify="right")
    for name, latency_ms in (("p50", result.p50_ms), ("p90", result.p90_ms), ("p99", result.p99_ms)):
        table.add_row(f"{name} latency", f"{latency_ms:,.2f} ms", f"{verdict.p99_ms:g} ms" if name == "p99" else "")
    table.add_row("p99.9 latency", f"{result.p999_ms:,.2f} ms", "")
    table.add_row("longest", f"{result.max_ms:,.2f} ms", "")
    least = (ACHIEVED_SHARE - verdict.errors) * result.offered_rate
    table.add_row("good answers", f"{result.achieved_rate:,.1f}/s", f"{least:,.1f}/s")
    table.add_row("failed", f"{result.failed:,}", f"{verdict.errors:.2%}" if verdict.errors else "0")
    for kind, n in sorted(result.errors.items()):
        table.add_row(f"  {kind}", f"{n:,}", "")
    table.add_row("client: late by (p99)", f"{result.client_lag_p99_ms:,.2f} ms", "")
    table.add_row("client: of one core", f"{result.client_cpu:.0%}", "")
    return table
