"""Cells of a benchmark's table: each is measured once for the code it measures, and again when that code changes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
"""The committed tables, and the cells that they are made of."""


def hash_of(code: Iterable[Path], *settings: str, root: Path = ROOT) -> str:
    """SHA-256 over the content of files below a folder, and over whatever else decides the result."""
    digest = hashlib.sha256("\0".join(settings).encode())
    for file in sorted(code):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def cell(store: Path, name: str, code_hash: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The stored result of a cell while its hash stands; otherwise measure it and store it at once."""
    found: dict[str, Any] = _cells(store).get(name, {})
    if found.get("code") != code_hash:
        found = {"code": code_hash, "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), **measure()}
        cells = {**_cells(store), name: found}  # read again: what is measured may have stored other cells
        half = store.with_suffix(".half")
        half.write_text(json.dumps(cells, indent=2, sort_keys=True) + "\n")
        half.replace(store)
    return found


def _cells(store: Path) -> dict[str, Any]:
    cells: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    return cells


def machine() -> str:
    """Processor and usable cores, in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux: the plain name has to do
        model = platform.processor() or platform.machine()
    return f"{model}, {len(os.sched_getaffinity(0))} cores"
