"""A further process of this machine that tries configs of a study: ``python -m rowcast.training.tune.worker``.

It gets the rows in a folder and everything else as a line of JSON on its standard input, which stays open: where that
ends, the process that started it is gone, and so it ends too.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from rowcast.training.budget.first_use import pay_first_use
from rowcast.training.config import Config, make_config
from rowcast.training.device import training_device
from rowcast.training.fit.interrupt import Interrupt, ended_by_signals
from rowcast.training.own import NOTHING_OWN
from rowcast.training.threads import usable_threads
from rowcast.training.tune.carry import read_rows, write_rows
from rowcast.training.tune.clock import Clock
from rowcast.training.tune.objective import Trials
from rowcast.training.tune.rows import Rows, about_study
from rowcast.training.tune.space_reading import space_of
from rowcast.training.tune.study.opening import open_study
from rowcast.training.tune.study.storage import open_storage
from rowcast.training.tune.study.study import Study
from rowcast.training.tune.telling import any_cut_short
from rowcast.training.tune.try_out import try_out

_END_S = 10.0
"""For a worker to end in order once it is told to."""
_GRACE_S = 2.0
"""After the time for trials, for those that are under way to end by themselves."""


@dataclass
class _Worker:
    """A process, and the file that holds what it said of an error."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    told: bool = False

    def last_line(self) -> str:
        """Of what it said."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


@contextmanager
def workers(
    count: int,
    rows: Rows,
    config: Config,
    study: Study,
    storage: str | os.PathLike[str],
    wanted: int | None,
    clock: Clock,
    interrupt: Interrupt,
    say: Callable[[str], None],
) -> Iterator[Callable[[], None]]:
    """Processes that take part in a study for as long as this is entered; they share the cores with this one.

    Args:
        count: how many.
        rows: of the trials.
        config: the one that trials change, with the space.
        study: which they take part in.
        storage: where it is kept.
        wanted: how many trials are to be finished in all.
        clock: of the trials.
        interrupt: once it is true, trials under way are given back rather than waited for.
        say: told of a process that ended before its time.

    Yields:
        what looks after them, called now and then.
    """
    if count == 0:
        yield lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="rowcast-tune-") as folder:
        write_rows(rows, Path(folder))
        job = {
            "folder": folder,
            "config": config.model_dump(mode="json"),
            "study": study.name,
            "storage": os.fspath(storage),
            "wanted": wanted,
            "until": None if math.isinf(clock.budget_s) else time.time() + clock.left_in_all_s,
            "clock": {} if math.isinf(clock.budget_s) else clock.shares(),
            "threads": torch.get_num_threads(),
        }
        started = [_start(job) for _ in range(count)]

        def look_after() -> None:
            for worker in started:
                code = worker.process.poll()
                if code and not worker.told:
                    worker.told = True
                    why = worker.last_line()
                    ended = f"one of the processes that try configs ended with code {code}{': ' if why else ''}{why}"
                    say(f"{ended}; the others go on")

        try:
            yield look_after
            left = 0.0 if math.isinf(clock.budget_s) else max(clock.left_s(cut_short=False), 0.0) + _GRACE_S
            until = time.monotonic() + left
            while not interrupt and time.monotonic() < until and any(w.process.poll() is None for w in started):
                time.sleep(0.05)
        finally:
            _end(started)


def _start(job: Mapping[str, Any]) -> _Worker:
    """Start a process. It is in a session of its own: signals of the terminal are for the one that started it."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=os.environ
        | {"OMP_NUM_THREADS": str(job["threads"]), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
    return _Worker(process, errors)


def _end(started: list[_Worker]) -> None:
    """End what still runs, and wait for it."""
    for worker in started:
        if worker.process.poll() is None:
            worker.process.terminate()
    until = time.monotonic() + _END_S
    for worker in started:
        try:
            worker.process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        if worker.process.stdin is not None:
            with suppress(BrokenPipeError):
                worker.process.stdin.close()
        worker.errors.close()


# --- in the process ---------------------------------------------------------------------------------------------------


class _Silent:
    """Tells nobody."""

    def __init__(self, study: Study, clock: Clock) -> None:
        self._study, self._clock = study, clock
        self.taken: list[float] = []
        self.cut_short = False

    def waits(self) -> None:
        pass

    def __call__(self) -> None:
        records = self._study.finished()
        self.taken = [record.seconds for record in records if not record.pruned]
        self.cut_short = any_cut_short(records, self._clock)


def main() -> None:
    """Take part in a study until there is nothing left to try."""
    with ended_by_signals() as interrupt:
        interrupt.begun = True
        job = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_parent, args=[interrupt, Path(job["folder"])], daemon=True).start()
        torch.set_num_threads(job["threads"])
        rows = read_rows(Path(job["folder"]))
        config = make_config(overrides=job["config"])
        space = space_of(config)
        about = about_study(rows, config)
        study = open_study(open_storage(job["storage"]), job["study"], about, space, [], config.seed)
        device = training_device(config.device, config.fit.precision)
        if job["until"] is not None or config.fit.budget_s != "none":
            pay_first_use(config, device)
        left = math.inf if job["until"] is None else job["until"] - time.time()
        clock = Clock(time.monotonic(), left, **job["clock"])
        tell = _Silent(study, clock)
        tell()
        with usable_threads():
            try_out(study, Trials(rows, device, NOTHING_OWN, interrupt), config, job["wanted"], clock, tell=tell)


def _end_with_parent(interrupt: Interrupt, folder: Path) -> None:
    """Ask the trial to end once standard input has ended: the process that holds it is gone, and leaves its folder."""
    sys.stdin.buffer.read()
    interrupt.signal = signal.SIGTERM
    shutil.rmtree(folder, ignore_errors=True)
