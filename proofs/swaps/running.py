"""The service of the proof, which serves on between two calls of it, and what is known of it so far.

A proof of an hour is made in pieces: each takes the service as the one before has left it, without load.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from tests.service.processes import family
from tests.service.servers import ROOT, command, environment, free_port

START_SECONDS = 60.0


@dataclass(slots=True)
class Held:
    """What a service holds: memory, threads and descriptors of its supervisor and its workers."""

    bytes: int
    threads: int
    files: int
    """Descriptors that are no connections, which come and go with the callers."""
    processes: int

    @classmethod
    def of(cls, pid: int) -> Held:
        """What the service of a supervisor holds now."""
        members = family(pid)
        return cls(
            sum(int(member.memory_info().rss) for member in members),
            sum(member.num_threads() for member in members),
            sum(int(member.num_fds()) - len(member.net_connections()) for member in members),
            len(members),
        )

    def __str__(self) -> str:
        return f"{self.bytes / 2**20:,.1f} MiB, {self.threads} threads, {self.files} files, {self.processes} processes"


class Times:
    """How long requests took, to a tenth of a millisecond."""

    def __init__(self, counts: dict[str, int] | None = None) -> None:
        self._counts = Counter({float(ms): n for ms, n in (counts or {}).items()})

    def add(self, seconds: list[float]) -> None:
        """Take in more of them."""
        self._counts.update(round(one * 1000, 1) for one in seconds)

    def __len__(self) -> int:
        return self._counts.total()

    def quantile(self, share: float) -> float:
        """A quantile in milliseconds; 0 of none."""
        left = share * len(self)
        for ms, n in sorted(self._counts.items()):
            left -= n
            if left <= 0:
                return ms
        return 0.0

    def __str__(self) -> str:
        numbers = "".join(f"{self.quantile(share):9.1f}" for share in (0.5, 0.99, 0.999))
        return f"{len(self):>10,}{numbers}"

    @property
    def counts(self) -> dict[str, int]:
        """How many took how many milliseconds."""
        return {str(ms): n for ms, n in self._counts.items()}


@dataclass(slots=True)
class Told:
    """What became of one kind of damaged versions."""

    refused: int = 0
    unseen: int = 0
    """Those of which nothing was left to be seen."""
    whole: int = 0
    """Those that were whole when they were read, and so went live."""
    reason: str = ""


@dataclass(slots=True)
class State:
    """How far the proof has come."""

    pid: int
    port: int
    grpc_port: int
    calm: dict[str, int] = field(default_factory=dict)
    during: dict[str, int] = field(default_factory=dict)
    beside: dict[str, int] = field(default_factory=dict)
    before: Held | None = None
    after: Held | None = None
    took: list[float] = field(default_factory=list)
    """How long each version took from published to live, in seconds."""
    damaged: int = 0
    told: dict[str, Told] = field(default_factory=dict)
    sent: int = 0
    failed: list[str] = field(default_factory=list)
    versions: int = 0
    """That have answered."""

    @classmethod
    def read(cls, file: Path) -> State:
        """The state of an earlier piece."""
        said = json.loads(file.read_text())
        for which in ("before", "after"):
            said[which] = None if said[which] is None else Held(**said[which])
        said["told"] = {kind: Told(**one) for kind, one in said["told"].items()}
        return cls(**said)

    def write(self, file: Path) -> None:
        """Keep it for the next piece."""
        made = file.with_suffix(".new")
        made.write_text(json.dumps(asdict(self)))
        os.replace(made, file)


def start(folder: Path) -> State:
    """Start a service of ``folder/repository`` that nothing but :func:`stop` ends, and wait until it is ready."""
    port, grpc_port = free_port(), free_port()
    settings = {"repository": str(folder / "repository"), "workers": "2", "grace": "0", "grpc_port": str(grpc_port)}
    env = environment(folder / "home", **settings)
    with open(log_of(folder), "wb") as log:
        process = subprocess.Popen(
            command(port), cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while log_of(folder).read_text().count("Completed async startup hook") < 2:
        assert process.poll() is None, log_of(folder).read_text()
        assert time.monotonic() < deadline, log_of(folder).read_text()
        time.sleep(0.1)
    return State(process.pid, port, grpc_port)


def log_of(folder: Path) -> Path:
    """The log of the service of a folder."""
    return folder / "log.txt"


def is_up(pid: int) -> bool:
    """Whether the supervisor of a service runs."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(pid: int) -> None:
    """End a service, whatever is left of it."""
    members = family(pid)
    if members:
        members[0].send_signal(signal.SIGTERM)
    for member in psutil.wait_procs(members, timeout=30)[1]:
        member.kill()
