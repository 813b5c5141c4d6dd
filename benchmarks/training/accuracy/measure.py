"""One fit at a time, in a process of its own on two threads; its answers kept, its metrics in a cell."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import ROOT, cell
from benchmarks.serving.harness.environments import NotMade
from benchmarks.serving.harness.processes import busy_s
from benchmarks.training.accuracy.contenders import THREADS, Contender
from benchmarks.training.accuracy.datasets import Parts
from benchmarks.training.accuracy.scores import difference, row_losses, score

_THREADS_OF = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


class NotMeasured(Exception):
    """A cell without a result; the text says why."""


@dataclass(frozen=True)
class Bench:
    """Where results stand, and which of them are to be measured.

    ``wanted`` says which may be measured now; of the others, results that stand are shown. ``again`` measures what is
    wanted even where a result stands.
    """

    store: Path
    scratch: Path
    wanted: Callable[[Parts, Contender], bool] = lambda _parts, _contender: True
    again: bool = False

    def result(self, parts: Parts, contender: Contender, seed: int, name: str = "") -> dict[str, Any]:
        """The cell of a contender on a table; ``{"reason": ...}`` where there is none."""
        key, code = f"{parts.name}/{name or contender.name}/{seed}", contender.code(parts, seed)
        standing = self._standing(key, code)
        if not self.wanted(parts, contender):
            return standing or {"reason": "not asked for"}
        if standing and self.again:
            self._forget(key)
        try:
            return cell(self.store, key, code, lambda: self._measure(parts, contender, seed, key, code))
        except (NotMeasured, NotMade) as error:  # told in the table, and tried again next time
            return {"reason": str(error)}

    def losses(self, parts: Parts, contender: Contender, seed: int, part: str, name: str = "") -> NDArray[np.float64]:
        """What each row of a part adds to the metric, ``[rows]``; measured again where the answers are not here.

        Raises:
            NotMeasured: there is no result.
        """
        key, code = f"{parts.name}/{name or contender.name}/{seed}", contender.code(parts, seed)
        file = self._answers_file(key, code)
        if not file.exists():  # a result that came with the repository, without its answers
            if not self.wanted(parts, contender):
                raise NotMeasured("its answers are not on this machine")
            self._forget(key)
            found = self.result(parts, contender, seed, name)
            if "reason" in found:
                raise NotMeasured(str(found["reason"]))
        with np.load(file) as answers:
            return row_losses(parts.task, parts.about["classes"], parts.actual(part), answers[part])

    def _standing(self, key: str, code: str) -> dict[str, Any]:
        cells = json.loads(self.store.read_text()) if self.store.exists() else {}
        found: dict[str, Any] = cells.get(key, {})
        return found if found.get("code") == code else {}

    def _forget(self, key: str) -> None:
        cells = json.loads(self.store.read_text()) if self.store.exists() else {}
        cells.pop(key, None)
        self.store.write_text(json.dumps(cells, indent=2, sort_keys=True) + "\n")

    def _answers_file(self, key: str, code: str) -> Path:
        return self.scratch / "answers" / f"{key.replace('/', '--')}--{code[:16]}.npz"

    def _measure(self, parts: Parts, contender: Contender, seed: int, key: str, code: str) -> dict[str, Any]:
        print(f"{key} ...", end=" ", flush=True)
        kept = self._answers_file(key, code)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            out = Path(folder) / "answers.npz"
            try:
                how = run(contender.command(parts, out, seed, self.scratch), Path(folder))
            except (NotMeasured, NotMade) as error:
                print(error, flush=True)
                raise
            with np.load(out) as answers:
                scored = {
                    part: score(parts.task, parts.about["classes"], parts.actual(part), answers, part)
                    for part in ("validation", "test")
                    if part in answers
                }
            for old in kept.parent.glob(f"{key.replace('/', '--')}--????????????????.npz"):
                old.unlink()
            out.replace(kept)
        print(f"{how['fit_s']:.0f} s", flush=True)
        return {**how, **scored, "rows": parts.about["rows"]}


def interval(
    bench: Bench, parts: Parts, ours: tuple[Contender, str], theirs: tuple[Contender, str], seeds: int, part: str
) -> dict[str, Any]:
    """The cell of the difference of two contenders on a part; ``{"reason": ...}`` where one has no result.

    Args:
        bench: where results stand.
        parts: the table.
        ours: a contender and the name of its cells.
        theirs: likewise.
        seeds: each has cells from seed 0 up.
        part: validation or test.
    """
    sides = (ours, theirs)
    codes = [contender.code(parts, seed) for contender, _ in sides for seed in range(seeds)]

    def resample() -> dict[str, Any]:
        losses = [
            np.stack([bench.losses(parts, contender, seed, part, name) for seed in range(seeds)])
            for contender, name in sides
        ]
        return difference(parts.task, losses[0], losses[1])

    key = f"{parts.name}/{ours[1]} - {theirs[1]}/{part}"
    try:
        return cell(bench.store, key, " ".join(code[:16] for code in codes), resample)
    except NotMeasured as error:
        return {"reason": str(error)}


def run(command: list[str], folder: Path) -> dict[str, Any]:
    """Run one fit; what it says in its last line, and how much of a core others used meanwhile.

    Raises:
        NotMeasured: it failed; with its last words.
    """
    environment = {**os.environ, **dict.fromkeys(_THREADS_OF, str(THREADS)), "PYTHONPATH": str(ROOT)}
    before, started, used = _busy_s(), time.monotonic(), _children_s()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall, busy = time.monotonic() - started, _busy_s() - before
    try:
        how: dict[str, Any] = json.loads((done.stdout.strip().splitlines() or [""])[-1])
    except ValueError:
        how = {}  # one that is told to end by a signal may call that success
    if done.returncode or not how:
        words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise NotMeasured(f"ended with exit code {done.returncode}: {(words or ['it said nothing'])[-1].strip()[:300]}")
    # Work at low priority is not counted as busy; so where we are such work, all that was counted is others'.
    own = _children_s() - used if os.getpriority(os.PRIO_PROCESS, 0) <= 0 else 0.0
    return {**how, "others": round(max(0.0, busy - own) / wall, 3)}


def _busy_s() -> float:
    try:
        return sum(busy_s(core) for core in os.sched_getaffinity(0))
    except OSError:  # not Linux: nothing is known of others
        return 0.0


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
