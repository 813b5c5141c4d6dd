"""Rowcast's typed protocols beside servers that speak them: the same bytes, the same graph, one core each, one client.

V2 JSON, V2 binary, gRPC and Arrow, each at 1 and 32 connections and at 1, 64 and 1,024 rows a request. As in
``benchmarks.serving.compare`` rounds alternate, a server that is not measured is held still, CPU is counted, and rounds
in which others used the cores are repeated. Answers are compared with those of ONNX Runtime first, whose own rows a
second are measured beside the two.

A result stands until the code it measured changes: run it again, and only what is missing is measured.

    make bench-protocols
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.cells import RESULTS, ROOT, cell, hash_of
from benchmarks.serving.compare import trained_model
from benchmarks.serving.harness.duel import BODIES, SCRATCH, Load, Plan, WrongAnswers
from benchmarks.serving.harness.processes import NotStarted, pinned
from benchmarks.serving.tensors.bare import Bare
from benchmarks.serving.tensors.contenders import PEER_LIST
from benchmarks.serving.tensors.duel import LOADS, Pair
from benchmarks.serving.tensors.table import Cells, report
from benchmarks.serving.tensors.tables import Table, tables
from benchmarks.serving.tensors.wire import PROTOCOLS, Protocol

HERE = Path(__file__).resolve().parent
STORE = RESULTS / "protocols.json"
BODY_ROWS = 8192
"""Rows of all bodies of a load, at most."""


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server")
    parser.add_argument("--attempts", type=int, default=3, help="tries for a quiet round")
    parser.add_argument("--peers", default="", help="names of peers to measure, with commas between; default: all")
    parser.add_argument("--protocols", default="", help="names of protocols, with commas between; default: all")
    parser.add_argument("--results", type=Path, default=STORE, help="where results stand")
    given = parser.parse_args()
    plan = Plan(given.seconds, given.rounds, given.attempts)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("this benchmark needs two cores: one for the server, one for the client", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):  # end the servers then, too
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    SCRATCH.mkdir(exist_ok=True)
    (SCRATCH / ".gitignore").write_text("*\n")
    model = trained_model()
    names = {"peers": [peer.name for peer in PEER_LIST], "protocols": [protocol.name for protocol in PROTOCOLS]}
    wanted = {what: set(filter(None, getattr(given, what).split(","))) or set(all_) for what, all_ in names.items()}

    @functools.cache
    def bodies(nulls: bool, rows: int) -> list[Table]:
        number = min(BODIES, BODY_ROWS // rows)
        return tables(model.manifest.signature, rows=rows, number=number, seed=0, nulls=nulls)

    def asked(protocol: Protocol, load: Load) -> list[Table]:
        return bodies(protocol.nulls, load.rows)

    files = [file for room in ("harness", "tensors") for file in (HERE / room).rglob("*.py")]
    own = [file for file in files if file.name != "table.py"]
    own += [ROOT / "loadtest" / file for file in ("connection.py", "payloads.py")]
    rowcast = sorted(file for room in ("service", "models") for file in (ROOT / room).rglob("*.py"))
    settings = (f"{plan.seconds} {plan.rounds}", model.sha256)
    cells: Cells = {}
    with pinned(cores[0]):
        bare = Bare(model, cores[-1])
        for peer in PEER_LIST:
            code = hash_of([*own, *rowcast, *peer.files], *settings)
            with ExitStack() as stack:
                pair = Pair(peer, model, cores[-1], bare, asked)
                stack.callback(pair.end)
                for protocol in peer.protocols:
                    asked_for = peer.name in wanted["peers"] and protocol.name in wanted["protocols"]
                    reason = "" if asked_for else "not asked for"
                    for load in LOADS:
                        try:
                            if reason:
                                raise NotStarted(reason)
                            measure = functools.partial(pair.measure, protocol, load, plan)
                            found = cell(given.results, f"{protocol.name}/{peer.name}/{load.name}", code, measure)
                        except (NotStarted, WrongAnswers) as error:  # told in the table, and tried again next time
                            pair.end()
                            reason, found = str(error), {"reason": str(error)}
                        cells[protocol.name, peer.name, load.name] = found
    text = report(cells, plan)
    given.results.with_suffix(".md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
