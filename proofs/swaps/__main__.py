"""Replaces the version that is served under load, and publishes what must never be: ``make proof-swaps``.

Two workers answer rows, V2 JSON and binary, gRPC and Arrow streams at a steady rate. First that alone is measured; then
a version is published as soon as the one before is live; then damaged and hostile ones are. Every answer is compared
with what the version that it names answers to these rows. Afterwards the service may hold no more memory, threads or
files than before.

    make proof-swaps ARGS="--swaps 1000 --damaged 200"

With ``--folder`` it ends after ``--piece`` seconds, with exit code 75, and goes on where it was when it is called
again: the service stays, without load. A piece that was killed is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proofs.client import Connection, get
from proofs.swaps.asking import Load, weight
from proofs.swaps.damages import DAMAGES, MAY_BE_WHOLE
from proofs.swaps.publisher import Publisher
from proofs.swaps.running import Held, State, Times, Told, is_up, log_of, start, stop
from rowcast.models.repository import Repository
from tests.service.live.versions import publish

LARGEST_GROWTH = 0.05
LARGEST_RATIO = 2.0
LIVE_SECONDS = 120.0
ASKED_TO_BE_SURE = 12
"""Answers in which each of two workers is as good as certain to have had its say."""
KEPT_VERSIONS = 5
SETTLE_SECONDS = 8.0
SWAPS_TO_CALM = 3
"""For how many seconds versions are replaced for each that is measured without."""
GOES_ON = 75
"""EX_TEMPFAIL of sysexits.h: not all is done yet."""


async def details(port: int) -> Any:
    """What ``/readyz?verbose`` tells of flights."""
    import orjson

    connection = Connection(port)
    try:
        content = orjson.loads((await connection.ask(get("/readyz?verbose")))[2])
    finally:
        connection.close()
    return next(model for model in content["models"] if model["name"] == "flights")


async def until(condition: Callable[[Any], bool], port: int, times: int = 1) -> Any:
    """Wait until something is told of flights, so many times without a break; what was told then."""
    started, met = time.monotonic(), 0
    while met < times:
        told = await details(port)
        met = met + 1 if condition(told) else 0
        assert time.monotonic() < started + LIVE_SECONDS, f"not in time: {told}"
        if met == 0:
            await asyncio.sleep(0.05)
    return told


async def swap(root: Path, port: int, swaps: int, give_up: float) -> list[float]:
    """Publish versions until it is time to end, each as soon as the one before is live; how long each took."""
    took: list[float] = []
    async with Publisher(root, KEPT_VERSIONS) as publisher:
        while len(took) < swaps and time.monotonic() < give_up:
            version, published = await publisher.publish(), time.monotonic()
            await until(lambda told, version=version: told["version"] >= version, port)
            took.append(time.monotonic() - published)
    return took


def reason(model: Any, version: int) -> str:
    """Why a version is refused; empty where it is not, or not yet."""
    found = (one for one in model["not_served"] if one["version"] == version and one["state"] == "UNAVAILABLE")
    return next((str(one["reason"]) for one in found), "")


async def damage(root: Path, state: State, options: argparse.Namespace, give_up: float) -> None:
    """Publish what is no good until it is time to end, one after the other."""
    while state.damaged < options.damaged and time.monotonic() < give_up:
        kind = list(DAMAGES)[state.damaged % len(DAMAGES)]
        dice = random.Random(f"{options.seed} {state.damaged}")
        live, told = (await details(state.port))["version"], state.told.setdefault(kind, Told())
        await asyncio.to_thread(DAMAGES[kind], root, dice)
        newest = Repository(root).versions("flights")[-1]
        if newest == live:
            told.unseen += 1
        else:
            # of two workers one may know of a version that the other has not looked at yet: what one told counts
            model = await until(
                lambda model, newest=newest: model["version"] == newest or reason(model, newest), state.port
            )
            if model["version"] == newest:
                assert kind in MAY_BE_WHOLE, f"{kind}: version {newest} is live"
                told.whole += 1
                live = newest
            else:
                assert kind != "killed publisher", f"a publisher that was killed left {reason(model, newest)}"
                told.refused += 1
                told.reason = told.reason or reason(model, newest)
                shutil.rmtree(root / "flights" / str(newest))
        # the next one bears the same number, so no worker may know this one any more; which of them answers is chance
        await until(
            lambda model, live=live: not model["not_served"] and model["version"] == live, state.port, ASKED_TO_BE_SURE
        )
        state.damaged += 1


async def piece(root: Path, state: State, options: argparse.Namespace) -> None:
    """Measure for as long as a piece may take."""
    load = Load(state.port, state.grpc_port, options.rate)
    asking = asyncio.create_task(load.run())
    give_up = time.monotonic() + options.piece
    calm, during, beside = Times(state.calm), Times(state.during), Times(state.beside)
    try:
        await asyncio.sleep(SETTLE_SECONDS / 2)
        if state.before is None:
            await swap(root, state.port, options.warm, give_up)
            await asyncio.sleep(SETTLE_SECONDS)
            state.before = Held.of(state.pid)
        load.forget()
        began = len(state.took)
        while len(state.took) < options.swaps and time.monotonic() < give_up:  # by turns: a machine has its moods
            await asyncio.sleep(options.seconds)
            calm.add(load.forget())
            end = min(give_up, time.monotonic() + SWAPS_TO_CALM * options.seconds)
            state.took += await swap(root, state.port, options.swaps - len(state.took), end)
            during.add(load.forget())
        if len(state.took) > began:
            await asyncio.sleep(SETTLE_SECONDS)
            state.after = Held.of(state.pid)
            load.forget()
        await damage(root, state, options, give_up)
        beside.add(load.forget())
        await asyncio.sleep(1)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    state.calm, state.during, state.beside = calm.counts, during.counts, beside.counts
    state.sent += load.sent
    state.failed += load.failed
    state.versions += len(load.versions)


def report(state: State, log: str) -> tuple[bool, bool]:
    """Print what was found so far.

    Returns:
        whether it is as promised, and whether the times are, which more of them may change.
    """
    calm, during, beside = Times(state.calm), Times(state.during), Times(state.beside)
    took = sorted(state.took)
    print(f"{'':<28}{'requests':>10}{'p50':>9}{'p99':>9}{'p99.9':>9}  ms")
    for what, times in {"without swaps": calm, f"{len(took)} swaps": during, "damaged versions": beside}.items():
        print(f"{what:<28}{times}")
    kept, in_time = not state.failed and "Traceback" not in log and is_up(state.pid), True
    if took:
        print(f"published to live: median {took[len(took) // 2]:.2f} s, slowest {took[-1]:.2f} s")
        ratio = during.quantile(0.999) / max(calm.quantile(0.999), 1e-9)
        print(f"p99.9 during swaps is {ratio:.2f} times that without")
        in_time = ratio <= LARGEST_RATIO
    if state.before is not None and state.after is not None:
        before, after = state.before, state.after
        print(f"before: {before}\nafter:  {after}  {after.bytes / before.bytes - 1:+.1%}")
        kept &= after.bytes <= (1 + LARGEST_GROWTH) * before.bytes and after.files <= before.files
        kept &= (after.threads, after.processes) == (before.threads, before.processes)
    print(f"{state.sent:,} requests, {len(state.failed)} failed")
    for fault in state.failed[:10]:
        print(f"  {fault}")
    for kind, told in state.told.items():
        first = f": {told.reason[:120]}" if told.reason else ""
        print(f"  {kind:<18}{told.refused:>4} refused, {told.unseen} left nothing, {told.whole} whole{first}")
    for line in [line for line in log.splitlines() if "Traceback" in line or "ended" in line][:10]:
        print(line)
    return kept, in_time


def run(folder: Path, options: argparse.Namespace) -> int:
    """Do a piece; the exit code."""
    root, file = folder / "repository", folder / "state.json"
    if file.exists():
        state = State.read(file)
    else:
        publish(root, weight(1))
        state = start(folder)
        state.write(file)
    try:
        asyncio.run(piece(root, state, options))
    except BaseException:
        print(f"BROKEN; the log is {log_of(folder)}", file=sys.stderr)
        stop(state.pid)
        raise
    state.write(file)
    kept, in_time = report(state, log_of(folder).read_text())
    done = len(state.took) >= options.swaps and state.damaged >= options.damaged
    if kept and not done:
        print(f"goes on: {len(state.took)} of {options.swaps} swaps, {state.damaged} of {options.damaged} damaged")
        return GOES_ON
    stop(state.pid)
    print("kept" if kept and in_time else "BROKEN")
    return 0 if kept and in_time else 1


def main() -> int:
    """Swap; 0 when no request failed and nothing was left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--damaged", type=int, default=200)
    parser.add_argument("--warm", type=int, default=5, help="swaps before memory is looked at")
    parser.add_argument("--seconds", type=float, default=10, help="how long is measured without swaps, at a time")
    parser.add_argument("--rate", type=float, default=150, help="requests a second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where a proof in pieces keeps its service and what it has found")
    parser.add_argument("--piece", type=float, default=200, help="seconds of a piece, if there is a folder")
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        return run(options.folder.absolute(), options)
    options.piece = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), options)


if __name__ == "__main__":
    sys.exit(main())
