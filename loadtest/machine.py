"""Where something was measured: a figure of latency holds for the machine it was measured on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from rowcast.models.machine.limits import core_limit, memory_limit

_CPUINFO = Path("/proc/cpuinfo")


def described() -> dict[str, Any]:
    """This machine, as a record keeps it: processor, usable cores, usable memory in GiB, and the system."""
    return {
        "processor": processor(),
        "cores": core_limit().amount,
        "memory_gib": round(memory_limit().amount / 2**30, 1),
        "system": platform.platform(),
    }


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """The name of the processor."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # no Linux, or an ARM
        return platform.processor() or platform.machine()
