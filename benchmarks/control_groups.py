"""A control group of Linux, of v2 or of v1, whose processes may use so much of something together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_PERIOD_US = 100_000


@contextmanager
def cores_group(cores: float) -> Iterator[Path | None]:
    """A group that may use so many cores; None where none can be made."""
    quota = round(cores * _PERIOD_US)
    v2 = {"cpu.max": f"{quota} {_PERIOD_US}"}
    v1 = {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota)}
    with _group({"/sys/fs/cgroup": v2, "/sys/fs/cgroup/cpu": v1}) as group:
        yield group


@contextmanager
def memory_group(limit: int) -> Iterator[Path | None]:
    """A group that may use so many bytes; None where none can be made."""
    v2, v1 = {"memory.max": str(limit)}, {"memory.limit_in_bytes": str(limit)}
    with _group({"/sys/fs/cgroup": v2, "/sys/fs/cgroup/memory": v1}) as group:
        yield group


@contextmanager
def _group(kinds: Mapping[str, Mapping[str, str]]) -> Iterator[Path | None]:
    """A group below the first of these folders that takes its limits; it is removed at the end."""
    found = None
    for root, limits in kinds.items():
        path = Path(root) / f"rowcast-{os.getpid()}"
        with suppress(OSError):
            path.mkdir()
            try:
                for name, text in limits.items():
                    with (path / name).open("r+") as file:  # where there is no such controller, no file is made
                        file.write(text)
                found = path
                break
            except OSError:
                path.rmdir()
    try:
        yield found
    finally:
        for _ in range(50) if found is not None else ():
            with suppress(OSError):  # it is busy until the kernel has cleared up behind the last process
                found.rmdir()
                break
            time.sleep(0.1)
