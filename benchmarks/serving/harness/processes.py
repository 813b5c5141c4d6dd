"""A server under test: a tree of processes on one core, which can be held still, accounted for and ended as one.

Servers start workers in sessions of their own, so neither a process group nor a parent tells which processes are
theirs. A mark in the environment does: children inherit it. Linux only, as the benchmark is.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_READY_WITHIN_S = 60.0
_ENDED_WITHIN_S = 10.0
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2
"""Of the kernel's include/linux/posix-timers.h: time that the scheduler has counted."""
_OWN_SETTINGS = ("ROWCAST_", "BENTOML_", "PYTHONPATH", "VIRTUAL_ENV")


class NotStarted(Exception):
    """A server that does not come up; the text ends with what it said last."""


class Server:
    """The processes of a running server.

    Args:
        command: starts it.
        environment: added to this process's own.
        directory: its working directory.
        core: the one core it may use.
        log: file its output goes to.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, directory: Path, core: int, log: Path
    ) -> None:
        self.log = log
        self._mark = f"ROWCAST_BENCH_MARK={uuid.uuid4().hex}"
        key, _, value = self._mark.partition("=")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(_OWN_SETTINGS)}
        with log.open("wb") as output, pinned(core):  # children inherit the core
            self._process = subprocess.Popen(
                command,
                env={**kept, **environment, key: value},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self, url: str) -> None:
        """Wait for the first good answer to a GET.

        Raises:
            NotStarted: it ended, or took too long.
        """
        give_up = time.monotonic() + _READY_WITHIN_S
        directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever the environment says
        while time.monotonic() < give_up:
            if self._process.poll() is not None:
                raise NotStarted(f"ended with exit code {self._process.returncode}: {self.last_words()}")
            try:
                with directly.open(url, timeout=1):
                    return
            except (OSError, urllib.error.HTTPError):  # nobody listens yet, or not ready
                time.sleep(0.1)
        raise NotStarted(f"not ready within {_READY_WITHIN_S:.0f} s: {self.last_words()}")

    def cpu_s(self) -> float:
        """Seconds of CPU that its processes have used."""
        total = 0.0
        for pid in self._pids():
            # The process's CPU clock: clock_getcpuclockid(3) without libc. It counts nanoseconds, /proc/PID/stat
            # hundredths of a second, and a short round is a few of those.
            with suppress(OSError):  # it just ended
                total += time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
        return total

    def hold(self) -> None:
        """Stop its processes where they are: a server that is not being measured must not cost its rival a cycle."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let held processes go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End every process, kindly at first."""
        self.go_on()
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):  # the next lines are less kind
                self._process.wait(_ENDED_WITHIN_S)
        while self._pids():
            self._signal(signal.SIGKILL)
            time.sleep(0.02)
            self._process.poll()

    def _signal(self, number: int) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):  # it just ended
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        mark = self._mark.encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # another user's, or it just ended
                continue
        return found

    def last_words(self) -> str:
        """The last line it said that says something."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return next((line for line in reversed(lines) if line.strip(" -+|=")), "it said nothing")[:300]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run on one core, and start processes there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def busy_s(core: int) -> float:
    """Seconds that a core has been busy since the machine started, with whatever.

    Without work at low priority (`nice`): that fills what others leave, and yields to them.
    """
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, _nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            return (user + system + irq + softirq + steal) * _TICK_S
    raise ValueError(f"this machine has no core {core}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
