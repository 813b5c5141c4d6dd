"""The environments of the peers: exact versions, made under ``.bench`` when missing or when their list has changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from loadtest.cells import ROOT, hash_of

PEERS = ROOT / "tests" / "benchmarks" / "peers"


class NotMade(Exception):
    """An environment that cannot be made; the text says why."""


def exact(environment: str, package: str) -> str:
    """The line of a package in the list of an environment, with its exact version."""
    lines = (PEERS / f"{environment}.txt").read_text().splitlines()
    return next(line for line in lines if line.partition("==")[0].lower() == package)


def python_of(environment: str, scratch: Path) -> str:
    """The Python of an environment.

    Raises:
        NotMade: it cannot be installed.
    """
    requirements = PEERS / f"{environment}.txt"
    folder = scratch / f"venv-{environment}"
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
