"""Proof: a study that is killed at any moment loses no finished trial, and two processes share its work.

A study of a small table is killed (SIGKILL) at random moments and gone on with by the same command until all its trials
are finished. After each kill, every trial that was finished before must be there with the value and the fields it had.
In the end its trials must be those of the same study that nobody killed: the same configs in the same order, with the
same values, pruned at the same rungs.
Then a process of --jobs must end by itself after the one that started it is killed. At last one process and two run a
study of so many trials from its beginning, told to take one thread or two, and the ratio of their times is printed.

Each command runs in a process of its own, forked from one that has imported everything and run nothing.

    make proof-tune
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rowcast.api.display
import rowcast.api.trial_lines
import rowcast.training.tune.run  # noqa: F401 - imported before the processes are forked
from proofs.resume import child, ended
from rowcast.cli import main as main_of_command
from rowcast.training.tune.study.record import Record
from rowcast.training.tune.study.storage import open_storage
from rowcast.training.tune.study.study import Study
from tests.support import tables

TRIALS, ROWS = 100, 400
SHARED_TRIALS, SHARED_ROWS = 50, 4000
SPACE = """
[network]
members = {members}
layers = [{width}]
[fit]
epochs = {epochs}
[tune.space]
"optimizer.lr" = {{low = 1e-4, high = 1e-1, log = true}}
"network.dropout" = {{low = 0.0, high = 0.5}}
"""


@dataclass(frozen=True)
class Tuning:
    """A table, a space, and where its study is kept."""

    table: Path
    home: Path
    trials: int
    members: int = 2
    width: int = 16
    epochs: int = 6

    def start(self, threads: int, *further: str) -> int:
        """Run the command, always the same, in a new process; its id."""
        config = self.home / "space.toml"
        if not config.exists():
            config.write_text(SPACE.format(members=self.members, width=self.width, epochs=self.epochs))
        command = ["tune", str(self.table), "--target", "amount", "--config", str(config), "--no-publish"]
        command += ["--trials", str(self.trials), "--storage", str(self.journal), *further]
        return child(lambda: main_of_command(command), self.home / "log", threads)

    def run(self, *threads: int) -> float:
        """Start a process for each number of threads, and wait for all; the seconds it took."""
        started = time.monotonic()
        codes = [ended(process) for process in [self.start(n) for n in threads]]
        if any(codes):
            raise SystemExit((self.home / "log").read_text())
        return time.monotonic() - started

    def wait_for(self, trials: int) -> None:
        """Wait until so many trials are finished."""
        log = self.home / "log"
        while trials and not (log.exists() and f"{trials}/{self.trials}: trial " in log.read_text()):
            time.sleep(0.005)

    @property
    def journal(self) -> Path:
        """Of the study."""
        return self.home / "study.journal"

    def finished(self) -> dict[int, Record]:
        """The finished trials, by number."""
        return {record.number: record for record in self._study().finished()} if self.journal.exists() else {}

    def under_way(self) -> int:
        """How many trials nobody has ended."""
        return self._study().under_way() if self.journal.exists() else 0

    def _study(self) -> Any:
        import optuna

        from rowcast.training.config import make_config
        from rowcast.training.tune.space_reading import space_of

        config = make_config(file=self.home / "space.toml")
        storage = open_storage(self.journal)
        study = optuna.load_study(study_name=self.table.stem, storage=storage.backend)
        return Study(storage, study, space_of(config), 0)


def killed(tuning: Tuning, runs: int, rng: random.Random) -> bool:
    """Kill a study again and again; whether no finished trial was ever lost or changed, and all were reached."""
    print("run  killed after           finished  under way  lost or changed", flush=True)
    known: dict[int, Record] = {}
    good = True
    for number in range(1, runs + 1):
        trials, seconds = rng.randint(0, 3), rng.uniform(0.0, 0.3)
        trials = min(trials, tuning.trials - len(known))  # one that is complete tells of none
        process = tuning.start(1)
        tuning.wait_for(len(known) + trials if trials else 0)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        ended(process)
        found = tuning.finished()
        lost = sum(found.get(trial) != record for trial, record in known.items())
        good = good and lost == 0
        print(
            f"{number:>3}  {trials} trials + {seconds:.2f} s  {len(found):>10}  {tuning.under_way():>9}  {lost:>15}",
            flush=True,
        )
        known = found
    tuning.run(1)
    found = tuning.finished()
    lost = sum(found.get(trial) != record for trial, record in known.items())
    print(f"run to its end: {len(found)} of {tuning.trials} trials finished, {lost} lost or changed", flush=True)
    return good and lost == 0 and len(found) == tuning.trials


def same(one: dict[int, Record], other: dict[int, Record]) -> bool:
    """Whether two studies tried the same, in the same order, and came to the same."""
    ran, again = (
        [(record.values, record.value, record.pruned, record.why, record.origin) for record in found.values()]
        for found in (one, other)
    )
    alike = sum(a == b for a, b in zip(ran, again, strict=False))
    pruned = sum(record.pruned for record in other.values())
    print(
        f"after all kills {alike} of {len(again)} trials are those of the study that was not killed, of which {pruned} "
        "were pruned",
        flush=True,
    )
    return ran == again


def left_alone(tuning: Tuning) -> bool:
    """Whether a process of --jobs ends after the one that started it is killed."""
    process = tuning.start(1, "--jobs", "2")
    helpers: list[int] = []
    while not helpers:
        time.sleep(0.05)
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False
        )
        helpers = [int(pid) for pid in found.stdout.split()]
    time.sleep(3.0)
    os.kill(process, signal.SIGKILL)
    ended(process)
    until = time.monotonic() + 30.0
    while time.monotonic() < until and Path(f"/proc/{helpers[0]}").exists():
        time.sleep(0.05)
    gone = not Path(f"/proc/{helpers[0]}").exists()
    print(f"a process of --jobs whose parent was killed: {'ended by itself' if gone else 'STILL RUNS'}", flush=True)
    return gone


def shared(fresh: Callable[..., Tuning], most: float) -> bool:
    """Whether two processes need at most this part of the time of the faster one."""
    heavier = {"rows": SHARED_ROWS, "trials": SHARED_TRIALS, "members": 4, "width": 128, "epochs": 40}
    seconds = {}
    for threads in ((1,), (1, 1), (2,), (2, 2)):
        seconds[threads] = fresh(**heavier).run(*threads)
        which = "one process" if len(threads) == 1 else "two processes"
        ratio = seconds[threads] / min(found for how, found in seconds.items() if len(how) == 1)
        told = f"{which} told to take {threads[0]} thread{'s' * (threads[0] > 1)}"
        print(f"{SHARED_TRIALS} trials, {told}: {seconds[threads]:.1f} s, {ratio:.2f} of the faster one", flush=True)
    one, two = (min(found for how, found in seconds.items() if len(how) == n) for n in (1, 2))
    print(f"two processes take {two / one:.2f} of the time of one")
    return two / one <= most


def main() -> int:
    """Kill, go on, share; exit code 0 if nothing was lost and two are fast enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how often to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--ratio", type=float, default=0.6, help="of the time of two processes to that of one, at most")
    parser.add_argument("--part", choices=["kill", "share"], help="one part alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def fresh(rows: int = ROWS, **how: Any) -> Tuning:
            table, home = Path(folder) / f"table{rows}.csv", Path(folder) / "home"
            if not table.exists():
                written = child(lambda: tables.every_kind(rows).drop("class").write_csv(table), Path(folder) / "log", 1)
                ended(written)
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            return Tuning(table, home, **how)

        good = True
        if arguments.part != "share":
            tuning = fresh(trials=TRIALS)
            good = killed(tuning, arguments.runs, random.Random(arguments.seed))
            after_kills, undisturbed = tuning.finished(), fresh(trials=TRIALS)
            undisturbed.run(1)
            good = same(after_kills, undisturbed.finished()) and good
            good = left_alone(fresh(trials=100_000)) and good
        if arguments.part != "kill":
            good = shared(fresh, arguments.ratio) and good
    print("nothing lost, and shared" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
