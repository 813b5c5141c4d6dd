"""Proof: a bento serves from an environment that holds its own locked, hashed requirements and nothing else.

Installs packages, so it needs a package index and a minute.

    make proof-bento
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import bento, handmade
from tests.support.serving import ask


def main() -> int:
    """Build, install, serve, predict; 0 when the answer is right and torch is not importable."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        built = bento.build(home)
        subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
        python = str(home / "venv" / "bin" / "python")
        requirements = built / "env" / "python" / "requirements.txt"
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*install, "-r", str(requirements)], check=True)
        torch = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
        size = sum(file.stat().st_size for file in (home / "venv").rglob("*") if file.is_file()) / 2**20
        row = handmade.BINARY.example_row()
        with bento.served(built, home, python) as url:
            got = ask(url, [row])[0]["probabilities"]["late"]
    right = abs(got - handmade.late(row)) <= 1e-6
    print(f"environment {size:,.0f} MiB; torch importable: {torch.returncode == 0}; answer right: {right}")
    return 0 if right and torch.returncode != 0 else 1


if __name__ == "__main__":
    sys.exit(main())
