"""Rowcast and a peer that speak the same protocols, in alternating rounds; and bare ONNX Runtime after each two."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import numpy as np

from benchmarks.serving.harness.closedloop import Round
from benchmarks.serving.harness.contenders import OURS, Answers, Contender
from benchmarks.serving.harness.duel import CHECKED_ROWS, TOLERANCE, WARM_S, Load, Plan, Running, WrongAnswers
from benchmarks.serving.harness.processes import NotStarted, busy_s, free_port
from benchmarks.serving.tensors.bare import Bare
from benchmarks.serving.tensors.contenders import Peer
from benchmarks.serving.tensors.loops import ask_grpc, drive_grpc, drive_http
from benchmarks.serving.tensors.tables import Table, row_of, rows_of, table_of, tables
from benchmarks.serving.tensors.wire import Body, Protocol
from rowcast.loadtest.connection import fetch
from rowcast.models.repository import StoredModel
from rowcast.models.signature import Signature

LOADS = tuple(Load(connections, rows) for rows in (1, 64, 1024) for connections in (1, 32))
BARE_S = 1.0
"""Length of a round of bare runs, at most."""
_WARM_ROWS = 4096
"""Rows under way in the warm-up, at most: a server that has far more to do is late for the round."""
_TIMEOUT_S = 30.0


class Speaking(Running):
    """A started contender that is asked in one protocol or another.

    Args:
        contender: what is started.
        model: what it serves.
        core: its only one.
    """

    def __init__(self, contender: Contender, model: StoredModel, core: int) -> None:
        self.grpc_port = free_port()
        port = str(self.grpc_port)
        super().__init__(contender, model, core, {"SECOND_PORT": port, "ROWCAST_GRPC_PORT": port})
        self._grpc = False

    def ask(self, protocol: Protocol, signature: Signature, table: Table) -> Answers:
        """Its answers to a table.

        Raises:
            WrongAnswers: it does not answer in this protocol.
        """
        body = protocol.write(signature, table)
        if protocol.grpc:
            try:
                return protocol.read(ask_grpc(self.grpc_port, body.content, timeout_s=_TIMEOUT_S), signature.classes)
            except grpc.RpcError as error:
                raise WrongAnswers(f"answers {error.code()}: {error.details()}") from None
        status, answer = asyncio.run(fetch(self.endpoint, body.post(self.endpoint), timeout_s=_TIMEOUT_S))
        if status != 200:
            raise WrongAnswers(f"answers {status}: {answer[:200].decode(errors='replace')}")
        return protocol.read(answer, signature.classes)

    def measure_bodies(self, protocol: Protocol, load: Load, bodies: Sequence[Body], plan: Plan) -> dict[str, Any]:
        """The quietest of a few rounds; the first that is quiet enough."""
        self._grpc = protocol.grpc
        requests = [body.content if protocol.grpc else body.post(self.endpoint) for body in bodies]
        return self.measure_requests(load, requests, plan)

    def _round(self, load: Load, requests: Sequence[bytes], seconds: float) -> dict[str, Any]:
        client = min(os.sched_getaffinity(0))
        self._drive(requests, min(load.connections, max(1, _WARM_ROWS // load.rows)), min(WARM_S, seconds))
        before = (self.server.cpu_s(), busy_s(self.core), busy_s(client), sum(os.times()[:2]), time.perf_counter())
        result = self._drive(requests, load.connections, seconds)
        after = (self.server.cpu_s(), busy_s(self.core), busy_s(client), sum(os.times()[:2]), time.perf_counter())
        cpu, server_core, client_core, own, wall = (b - a for a, b in zip(before, after, strict=True))
        others = max(server_core - cpu, client_core - own, 0.0) / wall
        return {**asdict(result), "server_cpu_us": cpu / max(result.requests, 1) * 1e6, "others": others}

    def _drive(self, requests: Sequence[bytes], connections: int, seconds: float) -> Round:
        if self._grpc:
            return drive_grpc(self.grpc_port, requests, connections, seconds)
        return drive_http(self.endpoint, requests, connections, seconds)


@dataclass(slots=True)
class Pair:
    """Rowcast and one peer, started when the first cell needs them.

    Args:
        peer: the other.
        model: what both serve.
        core: the servers' core.
        bare: the model without a server.
        tables: of a protocol and a load.
    """

    peer: Peer
    model: StoredModel
    core: int
    bare: Bare
    tables: Callable[[Protocol, Load], Sequence[Table]]
    _running: tuple[Speaking, ...] = ()
    _checked: frozenset[str] = frozenset()

    def measure(self, protocol: Protocol, load: Load, plan: Plan) -> dict[str, Any]:
        """Alternating rounds of both, and of bare runs where a request has more than one row.

        Raises:
            NotStarted: the peer does not come up.
            WrongAnswers: the peer answers differently.
        """
        try:
            ours, theirs = self._started()
            self._check(protocol, ours, theirs)
            return self._rounds(protocol, load, plan)
        except OSError as error:
            words = self._running[-1].server.last_words() if self._running else ""
            raise NotStarted(f"stopped answering ({error}): {words}") from None

    def _rounds(self, protocol: Protocol, load: Load, plan: Plan) -> dict[str, Any]:
        asked = self.tables(protocol, load)
        bodies = [protocol.write(self.model.manifest.signature, table) for table in asked]
        rounds: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": [], "bare": []}
        for number in range(plan.rounds):
            for side, running in zip(("ours", "theirs"), self._running, strict=True):
                last = running.measure_bodies(protocol, load, bodies, plan)
                rounds[side].append(last)
                print(
                    f"{protocol.title}, {running.contender.name}, {load.name}, round {number + 1}: "
                    f"{last['rate']:,.1f}/s, {last['server_cpu_us']:,.0f} us, client {last['client_cpu']:.0%}, "
                    f"others {last['others']:.0%}",
                    file=sys.stderr,
                )
            if load.rows > 1:
                rounds["bare"].append(self.bare.measure(asked, min(BARE_S, plan.seconds)))
                print(f"bare, {load.rows} rows a run: {rounds['bare'][-1]['rows_per_s']:,.0f} rows/s", file=sys.stderr)
        return dict(rounds)

    def end(self) -> None:
        """End both servers."""
        for running in self._running:
            running.server.end()
        self._running, self._checked = (), frozenset()

    def _started(self) -> tuple[Speaking, ...]:
        if not self._running:
            for contender in (OURS, self.peer):
                self._running += (Speaking(contender, self.model, self.core),)
        return self._running

    def _check(self, protocol: Protocol, ours: Speaking, theirs: Speaking) -> None:
        """Compare answers to the same rows, in one request and one by one, before a protocol is first measured."""
        if protocol.name in self._checked:
            return
        for running in self._running:
            running.server.go_on()
        signature = self.model.manifest.signature
        (table,) = tables(signature, rows=CHECKED_ROWS, number=1, seed=1, nulls=protocol.nulls)
        if protocol.nulls:
            empty = table_of(signature, [dict.fromkeys(signature.names)])
            table = {name: np.concatenate([values[:-1], empty[name]]) for name, values in table.items()}
        expected = self.bare.answers(table)
        one_by_one = [a for i in range(rows_of(table)) for a in theirs.ask(protocol, signature, row_of(table, i))]
        compare(ours.ask(protocol, signature, table), expected, "Rowcast")
        compare(theirs.ask(protocol, signature, table), expected, self.peer.title)
        compare(one_by_one, expected, f"{self.peer.title}, asked one by one,")
        self._checked |= {protocol.name}
        for running in self._running:
            running.rest()


def compare(answers: Answers, expected: Answers, who: str) -> None:
    """Hold answers to what they should be.

    Raises:
        WrongAnswers: a label is another one, or a probability lies too far off.
    """
    if len(answers) != len(expected):
        raise WrongAnswers(f"{who} answers {len(answers)} of {len(expected)} rows")
    for i, ((label, ps), (right, rights)) in enumerate(zip(answers, expected, strict=True)):
        difference = max(abs(p - q) for p, q in zip(ps, rights, strict=True))
        if label != right or not difference <= TOLERANCE:
            raise WrongAnswers(f"row {i}: {who} answers {label} {ps}, where ONNX Runtime says {right} {rights}")
