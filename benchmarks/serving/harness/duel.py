"""Two servers, measured in alternating rounds under every load."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from benchmarks.cells import ROOT
from benchmarks.serving.harness.closedloop import drive
from benchmarks.serving.harness.contenders import OURS, PEERS, Answers, Contender
from benchmarks.serving.harness.processes import NotStarted, Server, busy_s, free_port
from rowcast.loadtest.connection import Endpoint, fetch
from rowcast.loadtest.payloads import Payloads
from rowcast.models.repository import StoredModel

SCRATCH = ROOT / ".bench"
BODIES = 64
"""Different requests of a load, sent in turn."""
CHECKED_ROWS = 64
TOLERANCE = 1e-5
"""How far a peer's probability may lie from ours."""
QUIET = 0.1
"""Share of a core that others may use during a round that counts."""
WARM_S = 0.5
_SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Load:
    """What the client does."""

    connections: int
    rows: int

    @property
    def name(self) -> str:
        """For the table, and the key of a cell."""
        plural = "s" if self.connections > 1 else ""
        return f"{self.rows}-row requests, {self.connections} connection{plural}"


LOADS = (Load(1, 1), Load(32, 1), Load(128, 1), Load(8, 64))


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    seconds: float
    rounds: int
    attempts: int
    """Times a round is tried for a quiet one."""


class WrongAnswers(Exception):
    """A peer does not answer as Rowcast does."""


class Running:
    """A started contender.

    Args:
        contender: what is started.
        model: what it serves.
        core: its only one.
        variables: more of its environment.
    """

    def __init__(
        self,
        contender: Contender,
        model: StoredModel,
        core: int,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        port, second_port = free_port(), free_port()
        environment = {
            "PORT": str(port),
            "SECOND_PORT": str(second_port),
            "MODEL": str(model.path / "model.onnx"),
            "SCRATCH": str(SCRATCH),
            "BENTOML_HOME": str(SCRATCH / "bentoml" / contender.name),  # two that share one delete each other's metrics
            "BENTOML_DO_NOT_TRACK": "True",
            "ROWCAST_REPOSITORY": str(SCRATCH / "repository"),
            "ROWCAST_MODELS": f"flights:{model.manifest.version}",
            "ROWCAST_WORKERS": "1",
            "ROWCAST_GRACE": "0",
            "ROWCAST_GRPC_PORT": str(second_port),
            **variables,
        }
        self.contender = contender
        self.endpoint = Endpoint.of(f"http://127.0.0.1:{port}")
        self.core = core
        self.server = Server(
            contender.command(port, SCRATCH),
            environment,
            directory=PEERS if contender is not OURS else ROOT,
            core=core,
            log=SCRATCH / f"{contender.name}.log",
        )
        try:
            self.server.wait_until_ready(f"http://127.0.0.1:{port}{contender.ready}")
        except BaseException:  # interrupted, too
            self.server.end()
            raise

    def answers(self, rows: Sequence[dict[str, Any]], classes: Sequence[str]) -> Answers:
        """Its answers to rows in one request.

        Raises:
            WrongAnswers: it does not answer in its dialect.
        """
        request = self.endpoint.post(self.contender.path, self.contender.dialect.write(rows))
        status, body = asyncio.run(fetch(self.endpoint, request, timeout_s=30))
        if status != 200:
            raise WrongAnswers(f"answers {status}: {body[:200].decode(errors='replace')}")
        return self.contender.dialect.read(body, classes)

    def measure(self, load: Load, bodies: Sequence[Sequence[dict[str, Any]]], plan: Plan) -> dict[str, Any]:
        """The quietest of a few rounds; the first that is quiet enough."""
        requests = [self.endpoint.post(self.contender.path, self.contender.dialect.write(rows)) for rows in bodies]
        return self.measure_requests(load, requests, plan)

    def measure_requests(self, load: Load, requests: Sequence[bytes], plan: Plan) -> dict[str, Any]:
        """The same, of whole HTTP requests."""
        self.server.go_on()
        try:
            tried: list[dict[str, Any]] = []
            for _ in range(plan.attempts):
                tried.append(self._round(load, requests, plan.seconds))
                if tried[-1]["others"] <= QUIET:
                    break
            return min(tried, key=lambda one: float(one["others"]))
        finally:
            self.rest()

    def rest(self) -> None:
        """Keep out of the rival's way."""
        if self.contender.may_be_held:
            time.sleep(_SETTLE_S)  # what was under way when the client left is finished first
            self.server.hold()

    def _round(self, load: Load, requests: Sequence[bytes], seconds: float) -> dict[str, Any]:
        client = min(os.sched_getaffinity(0))
        drive(self.endpoint, requests, load.connections, warm_s=0.0, seconds=WARM_S)
        before = (self.server.cpu_s(), busy_s(self.core), busy_s(client), sum(os.times()[:2]))
        result = drive(self.endpoint, requests, load.connections, warm_s=0.0, seconds=seconds)
        after = (self.server.cpu_s(), busy_s(self.core), busy_s(client), sum(os.times()[:2]))
        cpu, server_core, client_core, own = (b - a for a, b in zip(before, after, strict=True))
        others = max(server_core - cpu, client_core - own, 0.0) / seconds
        done = max(result.requests, 1)
        return {**asdict(result), "server_cpu_us": cpu / done * 1e6, "others": others}


class Duel:
    """Rowcast and one peer, started when the first cell needs them.

    Args:
        peer: the other.
        model: what both serve.
        core: the servers' core.
        bodies: the rows of every request of a load.
    """

    def __init__(self, peer: Contender, model: StoredModel, core: int, bodies: Callable[[Load], Any]) -> None:
        self._peer, self._model, self._core, self._bodies = peer, model, core, bodies
        self._running: list[Running] | None = None

    def measure(self, load: Load, plan: Plan) -> dict[str, Any]:
        """Alternating rounds of both.

        Raises:
            NotStarted: the peer does not come up.
            WrongAnswers: the peer answers differently.
        """
        ours, theirs = self._started()
        try:
            return self._rounds(ours, theirs, load, plan)
        except OSError as error:
            raise NotStarted(f"stopped answering ({error}): {theirs.server.last_words()}") from None

    def _rounds(self, ours: Running, theirs: Running, load: Load, plan: Plan) -> dict[str, Any]:
        rounds: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
        for number in range(plan.rounds):
            for side, running in (("ours", ours), ("theirs", theirs)):
                rounds[side].append(running.measure(load, self._bodies(load), plan))
                last = rounds[side][-1]
                print(
                    f"{running.contender.name}, {load.name}, round {number + 1}: {last['rate']:,.0f}/s, "
                    f"{last['server_cpu_us']:.0f} us, others {last['others']:.0%}",
                    file=sys.stderr,
                )
        return dict(rounds)

    def end(self) -> None:
        """End both servers."""
        for running in self._running or ():
            running.server.end()
        self._running = None

    def _started(self) -> list[Running]:
        if self._running is None:
            self._running = []
            for contender in (OURS, self._peer):
                self._running.append(Running(contender, self._model, self._core))
            self._check(*self._running)
            for running in self._running:
                running.rest()
        return self._running

    def _check(self, ours: Running, theirs: Running) -> None:
        """Compare answers to the same rows, in one request and one by one."""
        signature = self._model.manifest.signature
        payloads = Payloads(signature, seed=1)
        rows = [payloads.row() for _ in range(CHECKED_ROWS - 1)]
        rows.append(dict.fromkeys(signature.names))
        expected = ours.answers(rows, signature.classes)
        got = [theirs.answers(rows, signature.classes)]
        got.append([answer for row in rows for answer in theirs.answers([row], signature.classes)])
        for answers in got:
            if len(answers) != len(expected):
                raise WrongAnswers(f"answers {len(answers)} of {len(expected)} rows")
            for i, ((label, ps), (right, rights)) in enumerate(zip(answers, expected, strict=True)):
                difference = max(abs(p - q) for p, q in zip(ps, rights, strict=True))
                if label != right or not difference <= TOLERANCE:
                    raise WrongAnswers(f"row {i}: {label} {ps}, where Rowcast answers {right} {rights}")


def ceiling(core: int, load: Load, bodies: Sequence[Sequence[dict[str, Any]]], plan: Plan) -> dict[str, Any]:
    """What the client drives of a server that does nothing."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving.harness.ceiling", str(port), str(load.rows)]
    server = Server(command, {}, directory=ROOT, core=core, log=SCRATCH / "ceiling.log")
    try:
        server.wait_until_ready(f"http://127.0.0.1:{port}/")
        endpoint = Endpoint.of(f"http://127.0.0.1:{port}")
        requests = [endpoint.post("/predict", OURS.dialect.write(rows)) for rows in bodies]
        rounds = [
            drive(endpoint, requests, load.connections, warm_s=WARM_S, seconds=plan.seconds) for _ in range(plan.rounds)
        ]
    finally:
        server.end()
    best = max(rounds, key=lambda one: one.rate)
    return {"rate": best.rate, "client_us": best.client_cpu / best.rate * 1e6}
