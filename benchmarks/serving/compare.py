"""Rowcast beside other servers: the same rows, the same graph, one core each, one client.

A server and its client have a core each. Rowcast is measured as `rowcast serve` runs it (validation, batching and
metrics on, one worker), in rounds that alternate with each peer's, so that both meet the same weather; while one is
measured the other's processes are held still. Every answer of a peer is compared with ours for the same rows first.

Besides rates and latencies each round counts the CPU that the server spent, and what anybody else spent on the two
cores. A round in which others took more than a tenth of a core is repeated; where no quiet one came, the table says so.

A result stands until the code it measured changes: run it again, and only what is missing is measured.

    make bench-serving
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.cells import RESULTS, ROOT, cell, hash_of
from benchmarks.serving.harness.contenders import PEER_LIST
from benchmarks.serving.harness.duel import BODIES, LOADS, SCRATCH, Duel, Plan, WrongAnswers, ceiling
from benchmarks.serving.harness.processes import NotStarted, pinned
from benchmarks.serving.harness.table import report
from rowcast.loadtest.payloads import Payloads
from rowcast.models.repository import Repository, StoredModel

HERE = Path(__file__).resolve().parent
STORE = RESULTS / "serving.json"
TRAINING = ("--preset", "quick", "--budget", "30s", "--set", "network.members=8")


def trained_model() -> StoredModel:
    """The model that everybody serves, trained when there is none yet."""
    repository = SCRATCH / "repository"
    if "flights" not in Repository(repository).names():
        table = SCRATCH / "flights.csv"
        write = "import sys, pathlib, rowcast.training.data.flights as f; f.write_flights(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", write, str(table)], cwd=ROOT, check=True)
        command = [sys.executable, "-m", "rowcast", "train", str(table), "--name", "flights", "--target", "arrival"]
        options = ["--split-by-time", "time_hour", *TRAINING, "--repository", str(repository)]
        subprocess.run([*command, *options], cwd=ROOT, check=True)
    return Repository(repository).open("flights")


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server")
    parser.add_argument("--attempts", type=int, default=3, help="tries for a quiet round")
    parser.add_argument("--peers", default="", help="names of peers to measure, with commas between; default: all")
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
    payloads = {load: Payloads(model.manifest.signature, rows=load.rows, seed=0) for load in LOADS}
    bodies = {load: [[p.row() for _ in range(p.rows)] for _ in range(BODIES)] for load, p in payloads.items()}
    wanted = set(filter(None, given.peers.split(","))) or {peer.name for peer in PEER_LIST}

    harness = {file for file in (HERE / "harness").rglob("*.py") if file.name != "table.py"}
    own = [*harness, *(ROOT / "loadtest" / file for file in ("connection.py", "payloads.py"))]
    rowcast = sorted(file for room in ("service", "models") for file in (ROOT / room).rglob("*.py"))
    settings = (f"{plan.seconds} {plan.rounds}", model.sha256)
    ceilings: dict[str, dict[str, Any]] = {}
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    with pinned(cores[0]):
        for load in LOADS:
            ceilings[load.name] = cell(
                given.results,
                f"ceiling/{load.name}",
                hash_of(own, *settings),
                lambda load=load: ceiling(cores[-1], load, bodies[load], plan),  # type: ignore[misc]
            )
        for peer in PEER_LIST:
            code = hash_of([*own, *rowcast, *peer.files], *settings)
            with ExitStack() as stack:
                duel = Duel(peer, model, cores[-1], bodies.__getitem__)
                stack.callback(duel.end)
                reason = "" if peer.name in wanted else "not asked for"
                for load in LOADS:
                    key = f"{peer.name}/{load.name}"
                    try:
                        if reason:
                            raise NotStarted(reason)
                        cells[peer.name, load.name] = cell(
                            given.results,
                            key,
                            code,
                            lambda load=load, duel=duel: duel.measure(load, plan),  # type: ignore[misc]
                        )
                    except (NotStarted, WrongAnswers) as error:  # told in the table, and tried again next time
                        reason = str(error)
                        cells[peer.name, load.name] = {"reason": reason}
    text = report(cells, ceilings, plan)
    given.results.with_suffix(".md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
