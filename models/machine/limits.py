"""How many cores and how much memory this process may use, whoever set the limit: affinity, cgroups, the machine.

A limit may stand at any level above the process: a container sees its own group as the root, systemd's ``CPUQuota``
stands in a slice or a unit, Kubernetes sets one for the pod and one for the container. So every level that can be seen
is read, from the process's own group up to the root of the mount, under cgroup v2 and under v1, whose controllers have
a tree each; on a hybrid system both are there. The least one holds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_ROOT = Path("/")
_MOUNTS = "proc/self/mountinfo"
_GROUPS = "proc/self/cgroup"
_USUAL = (  # controllers, where their tree usually is; for where the mounts cannot be read
    ("", "sys/fs/cgroup"),
    ("", "sys/fs/cgroup/unified"),
    ("cpu", "sys/fs/cgroup/cpu,cpuacct"),
    ("cpu", "sys/fs/cgroup/cpu"),
    ("memory", "sys/fs/cgroup/memory"),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may be used, and what says so."""

    amount: float
    """Cores or bytes."""
    source: str
    """For a log: ``2 cores of the machine``, ``the quota of /system.slice/x.service``."""


def usable_cores(root: Path = _ROOT) -> int:
    """Cores this process may use, at least 1; a part of a core counts as one."""
    return max(1, math.ceil(core_limit(root).amount))


def affinity() -> int:
    """Cores that this process may run on, whatever its quota."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux knows affinities
        return os.cpu_count() or 1


def core_limit(root: Path = _ROOT) -> Limit:
    """Cores this process may use: its affinity, and every CPU quota above it.

    Args:
        root: of the file system whose ``proc`` and ``sys`` are read.
    """
    least = Limit(affinity(), "CPU affinity" if hasattr(os, "sched_getaffinity") else "cores of the machine")
    for group in _groups("cpu", root):
        quota = _quota(group)
        if quota is not None and quota < least.amount:
            least = Limit(quota, f"CPU quota of {_shown(group, root)}")
    return least


def memory_limit(root: Path = _ROOT) -> Limit:
    """Bytes this process and its siblings may use together: the machine's, and every limit above the process.

    Args:
        root: of the file system whose ``proc`` and ``sys`` are read.
    """
    least = Limit(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "memory of the machine")
    for group in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(group / name)
            if limit is not None and 0 < limit < least.amount:
                least = Limit(limit, f"memory limit of {_shown(group, root)}")
    return least


def available_memory(root: Path = _ROOT, *, beside_others: bool = False) -> Limit:
    """Bytes that this process may still take: what the machine has left, or what is left under a limit above the
    process, whoever else is in that group and takes of it.

    Pages of files that were read count as free, since the kernel drops them when memory is short.

    Args:
        root: of the file system whose ``proc`` and ``sys`` are read.
        beside_others: whether others in the group are to go on as fast as before: then only pages of files count as
            free under a limit that were not used for a while.
    """
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"  # macOS knows all alone
    left = Limit(os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE"), "memory of the machine")
    kilobytes = _field(root / "proc/meminfo", "MemAvailable:")
    if kilobytes is not None:
        left = Limit(kilobytes * 1024, "memory of the machine")
    own = 1024 * (_field(root / "proc/self/status", "VmRSS:") or 0)
    for group in _groups("memory", root):
        for version in (_V2, _V1):
            limit = _number(group / version.limit)
            if limit is None or limit <= 0:
                continue
            free = max(0, limit - _held(group, version, own, beside_others))
            left = min(left, Limit(free, f"memory limit of {_shown(group, root)}"), key=lambda one: one.amount)
    return left


class _Names(NamedTuple):
    """What the files of a group that tell of its memory, and lines of the last, are called."""

    limit: str
    used: str
    unused_files: str
    files: str


_V2 = _Names("memory.max", "memory.current", "inactive_file", "active_file")
_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file")


def _held(group: Path, version: _Names, own: int, beside_others: bool) -> int:
    """Bytes that a group and those below it hold, and the kernel cannot just drop.

    Args:
        group: its folder.
        version: of cgroups.
        own: what this process holds, which is all that is known where the group does not tell.
        beside_others: as of :func:`available_memory`.
    """
    used = _number(group / version.used)
    if used is None:
        return own
    dropped = (version.unused_files,) if beside_others else (version.unused_files, version.files)
    return max(0, used - sum(_field(group / "memory.stat", f"{name} ") or 0 for name in dropped))


def _field(file: Path, name: str) -> int | None:
    """A number that a line of a file of ``proc`` or of a group tells; None where there is no such line."""
    try:
        lines = file.read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)
    except (OSError, ValueError, IndexError):
        return None


def _quota(group: Path) -> float | None:
    """Cores that a group may use; None where it sets no bound."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # not cgroup v2, or "max"
        quota_us, period_us = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        cores = quota_us / period_us if quota_us is not None and period_us else 0.0
    return cores if cores > 0 else None  # v1 says -1 for none


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None


def _shown(group: Path, root: Path) -> str:
    return "/" + str(group.relative_to(root))


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, of one controller, each with those above it."""
    paths = _paths(root)
    for controllers, mount, mounted in _mounts(root):
        if controllers and controller not in controllers.split(","):
            continue
        wanted = controller if controllers else ""
        own = next((path for names, path in paths if wanted in names.split(",")), None)
        yield from _upwards(mount, mounted, own)


def _upwards(mount: Path, mounted: PurePosixPath, own: PurePosixPath | None) -> Iterator[Path]:
    """The folders from a process's group up to the root of a mount, which shows the tree from ``mounted`` on.

    A group outside of what is mounted, as a container without a namespace of its own may see it, leaves the root.
    """
    below = PurePosixPath()
    if own is not None and own.is_relative_to(mounted) and ".." not in own.parts:
        below = own.relative_to(mounted)
    yield from (mount / part for part in (below, *below.parents))


def _paths(root: Path) -> list[tuple[str, PurePosixPath]]:
    """Controllers and path of each group that this process is in; no controllers for cgroup v2."""
    try:
        lines = (root / _GROUPS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    fields = (line.split(":", 2) for line in lines)
    return [(found[1], PurePosixPath(found[2])) for found in fields if len(found) == 3]


def _mounts(root: Path) -> list[tuple[str, Path, PurePosixPath]]:
    """Controllers, place and root of each mounted tree of groups; no controllers for cgroup v2."""
    found: dict[Path, tuple[str, Path, PurePosixPath]] = {}
    try:
        lines = (root / _MOUNTS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    for line in lines:
        fields, _, rest = (part.split() for part in line.partition(" - "))
        if len(fields) < 5 or len(rest) < 3 or rest[0] not in ("cgroup", "cgroup2"):
            continue
        place = root / _unescaped(fields[4]).lstrip("/")
        controllers = rest[2] if rest[0] == "cgroup" else ""
        found[place] = controllers, place, PurePosixPath(_unescaped(fields[3]))  # the last mount covers those before
    if found:
        return list(found.values())
    return [(controllers, root / place, PurePosixPath("/")) for controllers, place in _USUAL]


def _unescaped(path: str) -> str:
    r"""A path of ``mountinfo``, which writes a space as ``\040``."""
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, sign)
    return path
