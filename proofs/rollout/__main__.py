"""A canary's share and its keys, guards, and what a shadow costs: ``make proof-rollout``.

make proof-rollout ARGS="--requests 100000 --rounds 10"
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from proofs.rollout import guards, shadow
from proofs.rollout.asking import Asking
from proofs.rollout.operating import Operator
from rowcast.service.rollout.trial import Sides
from tests.service.live.versions import moody_graph, publish, publish_graph, slow_graph
from tests.service.processes import workers
from tests.service.servers import Server, free_port, serving

MOST_OFF = 0.01
"""How far a share may lie from what was asked for."""
MOST_P99 = 1.10
PARTS = {"rows": 0.5, "V2 JSON": 0.15, "V2 binary": 0.15, "gRPC": 0.15, "Arrow": 0.05}
_KEYS = 400


class Table:
    """Prints what was found, and remembers whether all of it holds."""

    def __init__(self) -> None:
        self.kept = True

    def row(self, what: str, found: str, wanted: str, *, holds: bool) -> None:
        """A line of the table."""
        self.kept &= holds
        print(f"| {what} | {found} | {wanted} | {'yes' if holds else 'NO'} |", flush=True)


async def shares(operator: Operator, asking: Asking, n: int, table: Table) -> None:
    """How large the share of a canary is, over all requests and in each protocol."""
    for share in (0.05, 0.25):
        await operator.begin(2, canary=share)
        by_canary = total = 0
        for protocol, part in PARTS.items():
            some = round(n * part / 2)
            counts = await asking.counts(asking.protocols[protocol], round(share * 10**7), some)
            assert counts.keys() <= {1, 2}, counts
            by_canary, total = by_canary + counts[2], total + some
            got = counts[2] / some
            limit = MOST_OFF + 3 * (share * (1 - share) / some) ** 0.5
            table.row(
                f"canary {share:.0%}, {protocol}, {some:,} requests",
                f"{got:.2%}",
                f"{share:.0%}",
                holds=abs(got - share) < limit,
            )
        got = by_canary / total
        table.row(
            f"canary {share:.0%}, all {total:,} requests", f"{got:.2%}", "within 1%", holds=abs(got - share) <= MOST_OFF
        )


async def keys(operator: Operator, asking: Asking, server: Server, table: Table) -> None:
    """Whether a key is always on the same side: in every protocol, worker and process, and as the share grows."""
    named = [f"customer-{i}" for i in range(_KEYS)]
    sides: dict[float, list[bool]] = {}
    wrong = asked = 0
    for share in (0.05, 0.25):
        await operator.begin(2, canary=share)
        expected = [Sides("flights", 2, share).takes(key.encode()) for key in named]
        for time_over in range(2):
            for ask in asking.protocols.values():
                got = await asking.all(ask, [(time_over * 10**6 + i, key) for i, key in enumerate(named)])
                wrong += sum((version == 2) != side for version, side in zip(got, expected, strict=True))
                asked += len(got)
        sides[share] = expected
    left = sum(old and not new for old, new in zip(sides[0.05], sides[0.25], strict=True))
    pids = {one.pid: len(psutil.Process(one.pid).net_connections()) for one in workers(server.process.pid)}
    both = len(pids) == 2 and all(n > 1 for n in pids.values())
    table.row(
        f"{_KEYS} keys, {asked:,} requests in 5 protocols, 2 workers",
        f"{wrong} on another side",
        "0",
        holds=not wrong and both,
    )
    table.row("keys that leave the canary as its share grows from 5% to 25%", str(left), "0", holds=not left)


async def small(root: Path, server: Server, grpc_port: int, options: argparse.Namespace, table: Table) -> None:
    """All but the shadow's cost, on a small model."""
    operator, asking = Operator(root, server.port), Asking(server.port, grpc_port)
    try:
        if options.only in (None, "shares"):
            await shares(operator, asking, options.requests, table)
        if options.only in (None, "keys"):
            await keys(operator, asking, server, table)
        if options.only != "guards":
            await operator.end()
    finally:
        await asking.close()
    if options.only in (None, "guards"):
        await guarded(operator, server, options, table)


async def guarded(operator: Operator, server: Server, options: argparse.Namespace, table: Table) -> None:
    """How soon guards act."""
    broken = {
        "errors=0.1%": (3, {"canary": 0.2}),
        "p99=1.2x": (4, {"canary": 0.2}),
        "disagree=5%": (5, {"shadow": 1.0}),
    }
    for guard, (version, how) in broken.items():
        took, why, failed = await guards.reaction(operator, server.port, version, guard, **how)
        holds = took <= guards.LONGEST_SECONDS and guard in why and (failed == 0 or guard.startswith("errors"))
        table.row(
            f"guard {guard}, 100 requests a second: {why.partition('broken: ')[2]}", f"{took:.1f} s", "5 s", holds=holds
        )
    holds, why = await guards.promotion(operator, server.port, 2, options.promote_after)
    table.row("a version that keeps its guards", why, "promoted", holds=holds)


async def cost(root: Path, server: Server, requests: list[bytes], options: argparse.Namespace, table: Table) -> None:
    """What a shadow costs."""
    operator = Operator(root, server.port)
    able = await shadow.capacity(server.port, requests, options.seconds / 2)
    found = await shadow.turns(operator, server.port, requests, able / 2, options.rounds, options.seconds)
    for turn in found:
        print(f"  p99 {turn.without_ms:.2f} ms without, {turn.with_ms:.2f} ms with a shadow{turn.void and ' (void)'}")
    measured = (await operator.told())["rollout"]["measured"]["compared"]
    print(f"  compared in the last turns: {measured}")
    if options.rounds > 1:
        print(f"  two turns without a shadow, one after the other: {shadow.Median.of(shadow.noise(found))} times")
    times = shadow.Median.of(shadow.ratios(found))
    void = sum(bool(turn.void) for turn in found)
    print(f"  in {void} rounds the client had not the core that it needs")
    failed = sum(turn.failed for turn in found)
    what = f"p99 with a shadow at half load ({able / 2:,.0f} of {able:,.0f} requests a second), {options.rounds} rounds"
    holds = times.value <= MOST_P99 and not failed and void <= options.rounds / 2
    table.row(what, f"{times} times that without, {failed} failed", "1.10", holds=holds)


@contextmanager
def service(root: Path, home: Path, workers: str, **settings: str) -> Iterator[Server]:
    """A service of a repository."""
    with serving(root, home, workers=workers, reload="manual", **settings) as server:
        while server.log.read_text().count("Completed async startup hook") < int(workers):
            time.sleep(0.1)
        try:
            yield server
        finally:
            words = ("Traceback", "ended", "held up the event loop")
            told = [line for line in server.log.read_text().splitlines() if any(word in line for word in words)]
            print(*told[:10], sep="\n")


def main() -> int:
    """Prove it; 0 when all of it holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--promote-after", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=20, help="of the shadow's cost")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a measurement in a round")
    parser.add_argument("--only", choices=["shares", "keys", "guards", "shadow"], help="a part")
    options = parser.parse_args()
    table = Table()
    print("| what | found | wanted | holds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if options.only != "shadow":
            root, grpc_port = home / "small", free_port()
            publish(root, 1.0)
            with service(root, home / "a", workers="2", grpc_port=str(grpc_port)) as server:
                publish(root, 1.01)
                publish_graph(root, moody_graph())
                publish_graph(root, slow_graph(60_000))
                publish(root, -9.0)
                asyncio.run(small(root, server, grpc_port, options, table))
        if options.only in (None, "shadow"):
            root = home / "large"
            requests = shadow.publish_two(root)
            with service(root, home / "b", workers="1") as server:
                asyncio.run(cost(root, server, requests, options, table))
    print("kept" if table.kept else "BROKEN")
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
