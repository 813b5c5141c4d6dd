"""How many workers there are, and the sentence that says why."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rowcast.service.process.worker_count import worker_count
from rowcast.service.settings import Settings

MIB = 2**20


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores whose memory is limited to 1 GiB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for name, text in {
        "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/memory.max": str(1024 * MIB),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def models(*mib: float) -> list[Any]:
    return [SimpleNamespace(graph=bytes(int(size * MIB))) for size in mib]


def test_memory_bounds_the_workers_of_a_machine_with_many_cores(root: Path) -> None:
    assert worker_count(Settings(), models(), root) == (
        4,
        "64 usable cores (64: CPU affinity); memory for 4 of 192 MiB (1,024 MiB, memory limit of /sys/fs/cgroup)",
        False,
    )
    assert worker_count(Settings(), models(20, 10), root)[:1] == (2,)


def test_cores_bound_them_where_there_is_memory(root: Path) -> None:
    (root / "sys/fs/cgroup/cpu.max").write_text("150000 100000")
    found = worker_count(Settings(), models(), root)
    assert found.workers == 2
    assert found.why.startswith("2 usable cores (1.5: CPU quota of /sys/fs/cgroup); memory for 4 of 192 MiB")


def test_there_is_always_one_and_it_is_told_when_it_has_no_room(root: Path) -> None:
    (root / "sys/fs/cgroup/memory.max").write_text(str(200 * MIB))
    found = worker_count(Settings(), models(), root)
    assert (found.workers, found.short) == (1, True)
    assert "memory for 0 of 192 MiB (200 MiB, memory limit of /sys/fs/cgroup)" in found.why


def test_a_number_that_was_set_holds_and_too_little_memory_is_told(root: Path) -> None:
    found = worker_count(Settings(workers=8), models(), root)
    assert (found.workers, found.short) == (8, True)
    assert found.why.startswith("as ROWCAST_WORKERS says; memory for 4 of 192 MiB")
    assert not worker_count(Settings(workers=3), models(), root).short
