"""Environments of their own for what a benchmark compares with: exact versions, made when missing or changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.cells import hash_of


class NotMade(Exception):
    """An environment that cannot be made; the text says why."""


def python_of(requirements: Path, scratch: Path) -> str:
    """The Python of the environment that holds a list of exact versions.

    Args:
        requirements: the list, as pip takes it; the environment has its name.
        scratch: the folder that environments are made in.

    Raises:
        NotMade: it cannot be installed.
    """
    folder = scratch / f"venv-{requirements.stem}"
    done, wanted = folder / "installed", hash_of([requirements], sys.version)
    python = folder / "bin" / "python"
    if not done.exists() or done.read_text() != wanted:
        print(f"making {folder}", file=sys.stderr)
        steps = (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)],
        )
        for step in steps:
            result = subprocess.run(step, capture_output=True, text=True, check=False)
            if result.returncode:
                reasons = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
                raise NotMade(f"cannot be installed: {reasons[0] if reasons else result.stderr[-300:]}")
        done.write_text(wanted)
    return str(python)
