"""Limits are found wherever they are set: on made-up trees of both versions of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rowcast.models.machine.limits import Limit, available_memory, core_limit, memory_limit, usable_cores

GIB = 2**30
V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw"
V1 = """31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
32 31 0:29 {0} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 {0} /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd"""
V1_PATHS = "12:memory:{0}\n4:cpu,cpuacct:{0}\n1:name=systemd:/other\n0::/other"


@pytest.fixture(autouse=True)
def _many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def tree(root: Path, mounts: str, paths: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/mountinfo": mounts, "proc/self/cgroup": paths, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def limits(root: Path) -> tuple[int, float]:
    """Cores, and GiB."""
    return usable_cores(root), memory_limit(root).amount / GIB


PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB


def test_without_any_limit_it_is_the_machine(tmp_path: Path) -> None:
    assert limits(tmp_path) == (64, PHYSICAL)
    nothing = {"sys/fs/cgroup/a/cpu.max": "max 100000", "sys/fs/cgroup/a/memory.max": "max"}
    assert limits(tree(tmp_path, V2, "0::/a", nothing)) == (64, PHYSICAL)
    assert core_limit(tmp_path).source == "CPU affinity"


@pytest.mark.parametrize(
    ("quota", "cores"), [("50000 100000", 1), ("100000 100000", 1), ("250000 100000", 3), ("1000 100000", 1)]
)
def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path, quota: str, cores: int) -> None:
    files = {"sys/fs/cgroup/cpu.max": quota, "sys/fs/cgroup/memory.max": str(GIB // 2)}
    assert limits(tree(tmp_path, V2, "0::/", files)) == (cores, 0.5)


def test_the_least_of_all_levels_holds(tmp_path: Path) -> None:
    unit = "sys/fs/cgroup/system.slice/app.slice/rowcast.service"
    files = {
        f"{unit}/cpu.max": "800000 100000",
        "sys/fs/cgroup/system.slice/app.slice/cpu.max": "150000 100000",
        "sys/fs/cgroup/system.slice/cpu.max": "max 100000",
        f"{unit}/memory.max": "max",
        "sys/fs/cgroup/system.slice/memory.max": str(GIB),
    }
    root = tree(tmp_path, V2, "0::/system.slice/app.slice/rowcast.service", files)
    assert limits(root) == (2, 1.0)
    assert core_limit(root).source == "CPU quota of /sys/fs/cgroup/system.slice/app.slice"
    assert memory_limit(root).source == "memory limit of /sys/fs/cgroup/system.slice"


def test_of_version_1_each_controller_has_a_tree_of_its_own(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us": "350000",
        "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    root = tree(tmp_path, V1.format("/"), V1_PATHS.format("/docker/abc"), files)
    assert limits(root) == (4, 1.0)


@pytest.mark.parametrize("own", ["/docker/abc", "/", "/../elsewhere", "/docker/abc/below"])
def test_of_version_1_a_container_sees_its_part_of_the_tree(tmp_path: Path, own: str) -> None:
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
    }
    root = tree(tmp_path, V1.format("/docker/abc"), V1_PATHS.format(own), files)
    assert limits(root) == (1, 1.0)


def test_on_a_hybrid_system_both_are_read(tmp_path: Path) -> None:
    mounts = V1.format("/") + "\n35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    files = {
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "300000",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/unified/other/memory.max": str(GIB // 4),
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": str(GIB),
    }
    assert limits(tree(tmp_path, mounts, V1_PATHS.format("/a"), files)) == (3, 0.25)


def test_a_mount_over_another_is_the_one_that_is_seen(tmp_path: Path) -> None:
    mounts = V1.format("/") + "\n" + V1.format("/b2").splitlines()[1]
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    assert limits(tree(tmp_path, mounts, V1_PATHS.format("/"), files))[0] == 1


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "100000 100000", "sys/fs/cgroup/memory.max": str(GIB)},
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
        },
    ],
    ids=["v2", "v1"],
)
def test_where_proc_says_nothing_the_usual_places_are_looked_at(tmp_path: Path, files: dict[str, str]) -> None:
    assert limits(tree(tmp_path, "", "", files)) == (1, 1.0)


def test_files_that_hold_nonsense_set_no_limit(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu.max": "many",
        "sys/fs/cgroup/cpu.cfs_quota_us": "100000",
        "sys/fs/cgroup/cpu.cfs_period_us": "0",
        "sys/fs/cgroup/memory.max": "",
    }
    assert limits(tree(tmp_path, V2 + "\nnonsense\n1 2 3", "nonsense\n0::/\n::::", files)) == (64, PHYSICAL)


def test_affinity_holds_where_it_is_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert usable_cores(tree(tmp_path, V2, "0::/", {"sys/fs/cgroup/cpu.max": "400000 100000"})) == 1


MIB = 2**20
OF_V2 = ("memory.max", "memory.current", "inactive_file", "active_file")
OF_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file")


def memory(group: str, names: tuple[str, str, str, str], *mib: int) -> dict[str, str]:
    """The files of a group with such a limit that uses so much, of which so much is files of either sort."""
    limit, used, unused, files = (str(amount * MIB) for amount in mib)
    stat = f"anon 1\n{names[2]} {unused}\n{names[3]} {files}\nslab 7"
    return {f"{group}/{names[0]}": limit, f"{group}/{names[1]}": used, f"{group}/memory.stat": stat}


PLENTY = {"proc/meminfo": f"MemAvailable: {64 * GIB // 1024} kB", "proc/self/status": "VmRSS: 60416 kB"}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_others_in_the_group_hold_is_not_available(tmp_path: Path, version: str) -> None:
    mounts, own, names = (V2, "0::/a", OF_V2) if version == "v2" else (V1.format("/"), V1_PATHS.format("/a"), OF_V1)
    group = "sys/fs/cgroup/a" if version == "v2" else "sys/fs/cgroup/memory/a"
    root = tree(tmp_path, mounts, own, PLENTY | memory(group, names, 1024, 900, 100, 300))
    assert available_memory(root, beside_others=True) == Limit(224 * MIB, f"memory limit of /{group}")
    assert available_memory(root) == Limit(524 * MIB, f"memory limit of /{group}")  # all files can be dropped
    (root / f"{group}/memory.stat").unlink()
    assert available_memory(root) == Limit(124 * MIB, f"memory limit of /{group}")
    (root / f"{group}/{names[1]}").unlink()  # then by what this process holds itself
    assert available_memory(root) == Limit((1024 - 59) * MIB, f"memory limit of /{group}")


def test_the_level_holds_that_leaves_the_least_though_another_has_the_lowest_limit(tmp_path: Path) -> None:
    files = {
        **memory("sys/fs/cgroup/pod", OF_V2, 4096, 4000, 50, 0),
        **memory("sys/fs/cgroup/pod/one", OF_V2, 1024, 200, 0, 0),
    }
    root = tree(tmp_path, V2, "0::/pod/one", PLENTY | files)
    assert memory_limit(root).source == "memory limit of /sys/fs/cgroup/pod/one"
    for beside_others in (False, True):
        left = available_memory(root, beside_others=beside_others)
        assert left == Limit(146 * MIB, "memory limit of /sys/fs/cgroup/pod")
    (root / "sys/fs/cgroup/pod/memory.current").write_text(str(5000 * MIB))
    assert available_memory(root).amount == 0
