"""The other processes of a fit: whether each is still there, and what ended one that is not.

They talk through the key-value store that torchrun gives them. Each says once a second that it is alive; of those on
the same machine the system is asked. One that fails leaves the reason there, so that all end with the same line.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch.distributed.distributed_c10d import Store

from rowcast.models.errors import TrainingError
from rowcast.training.fit.checkpoint import differences

BEAT_S = 1.0
LOST_S = 45.0
"""A process on another machine that has not been heard of for so long is gone; one that computes still beats."""
NOTICED_S = 5.0
"""How long to look for who is gone, once something failed that needs all."""
_POLL_S = 0.02


class Lost(TrainingError):
    """Another process of the fit is gone, has failed, or trains something else."""


class Peers:
    """The processes of a fit, as this one sees them.

    Args:
        store: that all of them share.
        rank: of this process.
        size: how many there are.
        node: number of this process's machine.
    """

    def __init__(self, store: Store, rank: int, size: int, node: int) -> None:
        self.store, self.rank, self.size, self.node = store, rank, size, node
        self._meetings = 0
        self._own_end = ""
        self._places: list[dict[str, Any]] = []
        self._last: dict[int, tuple[bytes, float]] = {}
        """Of each process what it said last, and when that was first heard."""
        self._waiting_since: float | None = None
        self._ended = threading.Event()
        self._listened = time.monotonic()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._beat, self._guard)]

    # ─── meeting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, facts: Mapping[str, Any], patience_s: float) -> None:
        """Wait for all others for the first time.

        Args:
            facts: of this process, which have to be those of all.
            patience_s: how long.

        Raises:
            TrainingError: one did not come, or its facts are others.
        """
        mine = {"host": socket.gethostname(), "process": os.getpid(), "place": _place()}
        self._set("alive", "0")
        self._set("place", json.dumps(mine))
        deadline = time.monotonic() + patience_s
        while not self._all_have("place"):
            if time.monotonic() > deadline:
                there = [rank for rank in range(self.size) if self.store.check([f"place/{rank}"])]
                raise TrainingError(
                    f"all {self.size} processes have to start within {patience_s:g} s of each other, and "
                    f"{self._named([r for r in range(self.size) if r not in there])} did not"
                )
            time.sleep(_POLL_S)
        self._places = [json.loads(self.store.get(f"place/{rank}")) for rank in range(self.size)]
        self._listened = time.monotonic()
        for thread in self._threads:
            thread.start()
        self.same(facts)

    def same(self, facts: Mapping[str, Any]) -> None:
        """Wait until every process has come here, and has the same facts.

        Raises:
            Lost: a process is gone, has failed, or has other facts; says which.
        """
        self._meetings += 1
        with self.watched():
            others = self._met(f"meeting-{self._meetings}", facts)
        for rank, other in enumerate(others):
            differing = differences(others[0], other, f"in process {rank}", "in process 0")
            if differing:
                what = f"all processes of a fit must train the same, and {self._named([rank])} does not"
                raise Lost(f"{what}: {', '.join(differing[:2])}")

    def _met(self, name: str, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The facts of all processes, once all have come to a meeting."""
        try:
            self._set(name, json.dumps(facts))
            pause = _POLL_S
            while not self._all_have(name):
                self._check(name)
                time.sleep(pause)
                pause = min(0.2, pause * 1.2)
            return [json.loads(self.store.get(f"{name}/{rank}")) for rank in range(self.size)]
        except RuntimeError as error:
            raise self.lost_in(error) from error

    # ─── who is gone ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self, meeting: str) -> None:
        """Raise :class:`Lost` where a process has failed, or is gone without having come to a meeting."""
        found = self.failure()
        gone = [] if found else self._gone(LOST_S)
        if gone and not self._all_have(meeting):  # one that came may have gone on to its end
            found = f"{self._named(gone)} died"
        if found:
            raise Lost(found)

    def lost_in(self, error: Exception) -> Lost:
        """The error of what failed because a process is gone: says which, as far as it can be found."""
        deadline = time.monotonic() + NOTICED_S
        with self.watched(), suppress(RuntimeError):  # the store is gone as well
            while time.monotonic() < deadline:
                found = self.failure()
                gone = [] if found else self._gone(NOTICED_S / 2)
                if found or gone:
                    return Lost(found or f"{self._named(gone)} died")
                time.sleep(0.1)
            return Lost(f"processes of the fit can no longer reach each other: {_first_line(error)}")
        first = self._named([0]) if self._places else "process 0"
        return Lost(f"{first}, which held all others together, died")

    def failure(self) -> str:
        """What ended another process, as it said itself; empty if none has ended."""
        for key, what in (("failed", "failed: "), ("stopped", "was stopped by ")):
            if self.store.check([key]):
                said: dict[str, Any] = json.loads(self.store.get(key))
                if said["rank"] != self.rank and said["text"] != self._own_end:
                    return f"{self._named([said['rank']])} {what}{said['text']}"
        return ""

    def why_stopped(self) -> str:
        """What made torchrun stop this process: another one that failed or died; empty if there is none.

        One that was itself stopped is no reason: somebody stops them all.
        """
        if self.store.check(["failed"]):
            return self.failure()
        gone = [] if self.store.check(["stopped"]) else self._gone(LOST_S)
        return f"{self._named(gone)} died" if gone else ""

    def end(self, text: str, *, stopped: bool = False) -> None:
        """Say what ended this process: an error, or that it was stopped; what another said first stays."""
        self._own_end = text  # all may end by the same error: each then tells it as its own
        said = json.dumps({"rank": self.rank, "text": text})
        self.store.compare_set("stopped" if stopped else "failed", "", said)

    def tells(self) -> bool:
        """Whether this process is the first of its machine to ask, and so tells what ended all."""
        return bool(self.store.add(f"told/{self.node}", 1) == 1)

    def _gone(self, silent_s: float) -> list[int]:
        """Processes that are gone: of this machine as the system says, of others those silent for so long."""
        mine, now, gone = self._places[self.rank]["place"], time.monotonic(), []
        for rank, place in enumerate(self._places):
            if rank == self.rank:
                continue
            if place["place"] == mine:
                is_gone = not _is_running(place["process"])
            else:
                is_gone = now - self._last.get(rank, (b"", now))[1] > silent_s
            if is_gone:
                gone.append(rank)
        return gone

    def _named(self, ranks: list[int]) -> str:
        several = " and ".join(map(str, ranks))
        hosts = sorted({self._places[rank]["host"] for rank in ranks} if self._places else [])
        where = f" (on {', '.join(hosts)})" if hosts and len({p["place"] for p in self._places}) > 1 else ""
        return f"process{'es' * (len(ranks) > 1)} {several} of {self.size}{where}"

    # ─── being there ─────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around what may hang where a process is gone, deep in a library that no exception reaches."""
        before, self._waiting_since = self._waiting_since, self._waiting_since or time.monotonic()
        try:
            yield
        finally:
            self._waiting_since = before

    def leave(self, *, holds_store: bool) -> None:
        """Be watched and watch no longer; who holds the store waits until nobody of this machine may need it."""
        deadline = time.monotonic() + NOTICED_S
        while holds_store and self._places and len(self._gone(NOTICED_S)) < self.size - 1:
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        self._ended.set()

    def _beat(self) -> None:
        """Once a second: be heard, and listen."""
        with suppress(RuntimeError):  # the store is gone: whoever needs it next will tell
            store: Any = self.store.clone()  # type: ignore[attr-defined]
            count = 0
            while not self._ended.wait(BEAT_S):
                count += 1
                store.set(f"alive/{self.rank}", str(count))
                now = time.monotonic()
                for rank, said in enumerate(store.multi_get([f"alive/{rank}" for rank in range(self.size)])):
                    if self._last.get(rank, (b"", 0.0))[0] != said:
                        self._last[rank] = (said, now)
                self._listened = now

    def _guard(self) -> None:
        """End this process if it waits in vain. It touches nothing that may hang itself, such as the store."""
        while not self._ended.wait(BEAT_S):
            now, since = time.monotonic(), self._waiting_since
            if since is None or now - since < 2 * NOTICED_S:
                continue
            if now - self._listened > LOST_S:
                why = f"process {self.rank} of {self.size} can no longer reach the others"
            elif gone := self._gone(LOST_S):
                why = f"{self._named(gone)} died"
            else:
                continue
            if self._is_first_here():
                print(f"rowcast: {why}; nothing was published", file=sys.stderr, flush=True)
            os._exit(1)

    def _is_first_here(self) -> bool:
        """Whether no process of a lower number runs on this machine."""
        mine = self._places[self.rank]["place"]
        lower = [place for place in self._places[: self.rank] if place["place"] == mine]
        return not any(_is_running(place["process"]) for place in lower)

    def _set(self, name: str, text: str) -> None:
        self.store.set(f"{name}/{self.rank}", text)

    def _all_have(self, name: str) -> bool:
        return bool(self.store.check([f"{name}/{rank}" for rank in range(self.size)]))


def _place() -> str:
    """What processes share that see one another: a boot of a machine, and its numbers of processes."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {os.getpid()}"  # nobody is asked for


def _is_running(process: int) -> bool:
    """Whether a process of this machine runs; one that is over and not yet collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rpartition("] ")[2] if str(error) else type(error).__name__
