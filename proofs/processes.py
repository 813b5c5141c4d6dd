"""Proof: whatever process of a service is killed, stopped or signalled, and whenever, the service comes back or ends.

A service of two workers is started again and again. At a random moment, from the first millisecond on, one of its
processes gets a signal: the launcher, the supervisor or a worker; SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGSTOP, or SIGSTOP
and a little later SIGCONT. Then the service must have ended, if that is what the signal means, or answer on both ports
with two workers, each within a stated time. Where a process stays stopped on purpose, SIGTERM must still end all of it.
At the end of each round nothing may be left: no process, no port, no file.

    make proof-processes            # 100 rounds; ARGS='--rounds 20 --seed 7'
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.service.processes import addresses, alive, family, supervisor, workers
from tests.service.servers import ROOT, environment, free_port, publish_flights

START_SECONDS = 30.0
"""How long a start may take, on a machine that does other things."""
BACK_SECONDS = 15.0
"""Within which the service is whole again after a worker was killed or stopped; less than that once it is noticed."""
GRACE_SECONDS = 1.0
END_SECONDS = GRACE_SECONDS + 10
"""Within which all has ended after a signal that ends it."""
LATEST_SECONDS = 6.0
"""The last moment of a signal, after the start."""
STOPPED_SECONDS = 3.0
"""How long a process is stopped that goes on again: less than what counts as hung."""
WORKERS = 2
ROLES = ("launcher", "supervisor", "worker")
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP", "SIGSTOP+SIGCONT")


class Broken(AssertionError):
    """What did not hold."""


@dataclass
class Round:
    """A service that is started, and what is done to it."""

    repository: Path
    folder: Path

    def __post_init__(self) -> None:
        self.port, self.grpc = free_port(), free_port()
        env = environment(
            self.folder,
            repository=str(self.repository),
            workers=str(WORKERS),
            grace=str(GRACE_SECONDS),
            grpc_port=str(self.grpc),
        )
        del env["BENTOML_HOME"]  # the launcher makes its own
        env["ORT_DISABLE_TELEMETRY"] = "1"
        self.log = self.folder / "log.txt"
        self.started = time.monotonic()
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rowcast", "serve", "--port", str(self.port)],
                cwd=ROOT,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.seen: set[psutil.Process] = set()

    def look(self) -> list[psutil.Process]:
        """All processes that there are; they are remembered."""
        found = family(self.process.pid)
        self.seen |= set(found)
        for member in list(self.seen):  # of those whose parent is gone
            self.seen |= set(family(member.pid))
        return found

    def find(self, role: str, draw: random.Random) -> psutil.Process | None:
        """A process of a role, if there is one."""
        self.look()
        if role == "launcher":
            return psutil.Process(self.process.pid)
        if role == "supervisor":
            return supervisor(self.process.pid)
        found = workers(self.process.pid)
        return draw.choice(found) if found else None

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait for a condition; how long it took.

        Raises:
            Broken: longer than ``seconds``.
        """
        started = time.monotonic()
        while not condition():
            self.look()
            if time.monotonic() > started + seconds:
                raise Broken(f"{what} within {seconds:g} s")
            time.sleep(0.05)
        return time.monotonic() - started

    def whole(self) -> bool:
        """Whether all workers serve, and nothing listens but the two ports."""
        pid = self.process.pid
        if self.process.poll() is not None or len(workers(pid)) != WORKERS:
            return False
        try:
            listening = [addresses([worker]) for worker in workers(pid)]
            if any(f"tcp {self.grpc}" not in found for found in listening):
                return False
            answers = [httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=1).status_code for _ in range(4)]
        except (psutil.Error, httpx.HTTPError):
            return False
        extra = set().union(*listening) - {f"tcp {self.port}", f"tcp {self.grpc}"}
        if extra:
            raise Broken(f"something else listens: {extra}")
        return answers == [200] * 4

    def ended(self) -> bool:
        """Whether no process is left."""
        self.process.poll()
        return not alive(self.seen)

    def left(self) -> list[str]:
        """What is left when all has ended: ports and files."""
        found = [path.name for path in self.folder.iterdir() if path != self.log]
        for port in (self.port, self.grpc):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    found.append(f"port {port}")
        return found

    def clear(self) -> None:
        """Kill what is left, for the next round."""
        self.look()
        for member in self.seen:
            with contextlib.suppress(psutil.Error):
                member.kill()
        self.process.wait()


def ends(role: str, name: str) -> bool:
    """Whether a signal to a process means the end of the service."""
    if role == "worker" or name == "SIGSTOP+SIGCONT":
        return False
    return not (role == "supervisor" and name == "SIGHUP") and name != "SIGSTOP"


def run(round_: Round, role: str, name: str, at: float, draw: random.Random) -> tuple[str, float]:
    """One round; what came of it, and after how many seconds.

    Raises:
        Broken: something did not hold.
    """
    while time.monotonic() < round_.started + at:
        round_.look()
        time.sleep(0.005)
    victim: psutil.Process | None = None
    while victim is None and round_.process.poll() is None and time.monotonic() < round_.started + START_SECONDS:
        victim = round_.find(role, draw)  # it may not have been started yet
    if victim is None:
        raise Broken(f"there was no {role}")
    early = not round_.whole()
    with contextlib.suppress(psutil.Error):
        victim.send_signal(signal.SIGSTOP if name.startswith("SIGSTOP") else getattr(signal, name))
    if name == "SIGSTOP+SIGCONT":
        time.sleep(draw.uniform(0, STOPPED_SECONDS))
        with contextlib.suppress(psutil.Error):
            victim.resume()
    if ends(role, name) or (early and role == "supervisor" and name == "SIGHUP" and round_.process.poll() is not None):
        return "ended", round_.until(round_.ended, END_SECONDS, "not all ended")
    if name == "SIGSTOP" and role != "worker":  # it is meant to stay so; whoever started it may still end all of it
        victims_parent = round_.process if role == "supervisor" else supervisor(round_.process.pid)
        time.sleep(0.5)
        if victims_parent is None:
            victim.kill()
        else:
            victims_parent.send_signal(signal.SIGTERM)
        if role == "supervisor":
            return "ended by SIGTERM", round_.until(round_.ended, END_SECONDS, "not all ended")
        with contextlib.suppress(psutil.Error):
            victim.resume()
        return "ended by SIGTERM", round_.until(round_.ended, END_SECONDS, "not all ended")
    bound = START_SECONDS if early else BACK_SECONDS
    took = round_.until(lambda: round_.whole() or round_.process.poll() is not None, bound, "not whole again")
    if round_.process.poll() is not None:
        if role == "supervisor" and name == "SIGHUP":  # before it listened to signals
            return "ended", round_.until(round_.ended, END_SECONDS, "not all ended")
        raise Broken(f"the service ended with code {round_.process.returncode}")
    round_.look()
    round_.process.terminate()
    round_.until(round_.ended, END_SECONDS, "not all ended after SIGTERM")
    if round_.process.returncode != 0:
        raise Broken(f"SIGTERM ended it with code {round_.process.returncode}")
    return "back", took


def main() -> int:
    """Do all rounds; 0 when nothing broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the round to begin with")
    options = parser.parse_args()
    # A shell ignores SIGINT for what it runs in the background, and a service would inherit that: a signal that came
    # before the launcher's first lines would be lost, which no terminal does.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # what is started hears it, even where this runs under nohup
    broken = 0
    print(f"{'round':>5}  {'process':10}  {'signal':15}  {'after':>6}  {'outcome':16}  seconds", flush=True)
    with tempfile.TemporaryDirectory() as home:
        publish_flights(Path(home) / "repository")
        for n in range(options.first, options.first + options.rounds):
            draw = random.Random(f"{options.seed}:{n}")
            role, name = ROLES[n % len(ROLES)], SIGNALS[n // len(ROLES) % len(SIGNALS)]
            at = LATEST_SECONDS * draw.random() ** 2  # most of them early
            folder = Path(home) / str(n)
            folder.mkdir()
            round_ = Round(Path(home) / "repository", folder)
            try:
                outcome, took = run(round_, role, name, at, draw)
                if left := round_.left():
                    raise Broken(f"left behind: {left}")
            except Broken as error:
                broken += 1
                outcome, took = f"BROKEN: {error}", time.monotonic() - round_.started
                print("\n".join(f"    {line}" for line in round_.log.read_text(errors="replace").splitlines()[-15:]))
            finally:
                round_.clear()
            print(f"{n:5}  {role:10}  {name:15}  {at:5.2f}s  {outcome:16}  {took:.1f}", flush=True)
    print("kept" if not broken else f"BROKEN: {broken} of {options.rounds}")
    return 0 if not broken else 1


if __name__ == "__main__":
    os.environ.pop("ROWCAST_LAUNCHED_BY", None)
    sys.exit(main())
