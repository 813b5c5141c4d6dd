"""The most memory that a process held. Linux only.

``ru_maxrss`` of :mod:`resource` is not it: a child begins with the peak of the process that started it, since the
kernel keeps it over ``exec``. ``VmHWM`` is of the program that runs, and can be set back.
"""

from __future__ import annotations

from pathlib import Path


def peak_bytes() -> int:
    """The most that this process held since it began, or since :func:`reset_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def reset_peak() -> None:
    """Let the peak be what is held now."""
    Path("/proc/self/clear_refs").write_text("5")
