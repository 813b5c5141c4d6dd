"""A fit has as many threads as it may use cores, and threads that wait for each other sleep soon."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from benchmarks.control_groups import cores_group
from rowcast.training.threads import thread_count, usable_threads
from rowcast.training.waiting import VARIABLES, considerate, waited_s

V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
NESTED = "sys/fs/cgroup/kube.slice"
QUOTAS = {
    "v2, its own group": (V2, "0::/", {"sys/fs/cgroup/cpu.max": "50000 100000"}),
    "v2, a group above": (
        V2,
        "0::/kube.slice/pod.slice",
        {f"{NESTED}/cpu.max": "50000 100000", f"{NESTED}/pod.slice/cpu.max": "max 100000"},
    ),
    "v1": (
        V1,
        "4:cpu,cpuacct:/docker",
        {
            "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us": "25000",
            "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us": "50000",
        },
    ),
}


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def machine(root: Path, mounts: str, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize("where", QUOTAS)
def test_half_a_core_is_one_thread_wherever_the_quota_stands_and_a_decision_says_so(tmp_path: Path, where: str) -> None:
    root = machine(tmp_path, *QUOTAS[where])
    said = "the fit has 1 thread instead of 8, as it may use 0.5 cores; OMP_NUM_THREADS sets another number"
    assert thread_count(8, {}, root) == (1, [said])


def test_a_core_and_a_half_are_two_threads(tmp_path: Path) -> None:
    root = machine(tmp_path, V2, "0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"})
    said = "the fit has 2 threads instead of 8, as it may use 1.5 cores; OMP_NUM_THREADS sets another number"
    assert thread_count(8, {}, root) == (2, [said])


def test_without_a_quota_and_with_fewer_threads_than_cores_all_stays_as_it_is(tmp_path: Path) -> None:
    assert thread_count(8, {}, tmp_path) == (8, [])
    assert thread_count(4, {}, tmp_path) == (4, [])  # PyTorch counts physical cores, or a user has set it there
    root = machine(tmp_path, V2, "0::/", {"sys/fs/cgroup/cpu.max": "600000 100000"})
    assert thread_count(4, {}, root) == (4, [])


def test_an_affinity_that_was_set_after_torch_was_imported_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    said = "the fit has 1 thread instead of 8, as it may use 1 core; OMP_NUM_THREADS sets another number"
    assert thread_count(8, {}, tmp_path) == (1, [said])


def test_what_the_user_has_set_is_heeded_and_told_where_it_is_more_than_there_is(tmp_path: Path) -> None:
    root = machine(tmp_path, *QUOTAS["v1"])
    said = (
        "the fit has 3 threads, as OMP_NUM_THREADS says, though it may use 0.5 cores: "
        "leave OMP_NUM_THREADS out for one thread a core"
    )
    assert thread_count(3, {"OMP_NUM_THREADS": "3"}, root) == (3, [said])
    assert thread_count(1, {"OMP_NUM_THREADS": "1"}, root) == (1, [])
    assert thread_count(8, {"OMP_NUM_THREADS": "2,1"}, tmp_path / "none") == (2, [])  # set after torch was imported
    assert thread_count(8, {"OMP_NUM_THREADS": "many"}, root)[0] == 1  # which OpenMP passes over, and so do we


def test_threads_are_the_callers_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with usable_threads() as decisions:
            assert (torch.get_num_threads(), len(decisions)) == (1, 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


FIT = """
import torch, rowcast
rows = [{"a": i % 7, "b": i % 5, "y": float(i % 7)} for i in range(300)]
threads = []
def look(_):
    threads.append(torch.get_num_threads())
model = rowcast.fit(rows, target="y", preset="quick", fit={"epochs": 2}, callbacks=[look])
print(set(threads), [said for said in model.decisions if "thread" in said])
"""
NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
UNSET = {name: text for name, text in os.environ.items() if name not in NAMES}


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_a_fit_in_a_group_of_half_a_core_has_one_thread() -> None:
    with cores_group(0.5) as group:
        if group is None:
            pytest.skip("no control group can be made here: that needs root, and a mount that can be written to")
        done = subprocess.run(
            [sys.executable, "-P", "-c", FIT],
            env=UNSET,
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.startswith("{1} ")


# ─── how they wait ───────────────────────────────────────────────────────────────────────────────────────────────────


WAIT = """
import os, time, torch
from rowcast.training.waiting import considerate
one = torch.ones(1 << 20)
def tasks():
    return len(os.listdir("/proc/self/task"))
def spun():
    "Seconds of the processor in 0.6 s in which there is nothing to do but to wait."
    seconds = 0.0
    for _ in range(30):
        total = one.sum()
        before = time.process_time()
        time.sleep(0.02)
        seconds += time.process_time() - before
    return total.item(), seconds
cores = len(os.sched_getaffinity(0))
first, tasks_before = spun(), tasks()
with considerate(2, cores, always=True):
    while tasks() < tasks_before + 2 + cores - 1:
        time.sleep(0.01)
    second = spun()
while tasks() > tasks_before:
    time.sleep(0.01)
third = spun()
print(first[0] == second[0] == third[0], second[1] < first[1] / 3, second[1] < third[1] / 3, first[1], second[1])
"""


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP is Linux's")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="on one core two threads never spin")
def test_threads_that_wait_sleep_while_others_want_the_cores_and_spin_before_and_afterwards() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", WAIT],
        env=UNSET | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split()[:3] == ["True", "True", "True"], done.stdout


def test_how_long_threads_wait_for_a_core_is_what_linux_counts(tmp_path: Path) -> None:
    for task, text in (("7", "5000 250000000 3\n"), ("8", "1 2000000000 1\n"), ("9", "")):
        (tmp_path / task).mkdir()
        (tmp_path / task / "schedstat").write_text(text)
    (tmp_path / "10").mkdir()  # it has just ended
    assert waited_s(tmp_path) == {"7": 0.25, "8": 2.0}


def test_one_thread_waits_for_nobody_and_a_users_choice_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def watched() -> bool:
        return any(thread.name == "rowcast-waiting" for thread in threading.enumerate())

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with considerate(1, 8):
        assert not watched()
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with considerate(2, 8):
        assert not watched()
