"""A bento built from `bentofile.yaml` in a copy of the checkout, with a handmade model in its repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rowcast.models import Repository
from tests.support import handmade
from tests.support.serving import free_port, wait_until_ready

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("bentofile.yaml", "requirements-serving.lock", "README.md", "image", "rowcast", "service", "models")


def build(home: Path) -> Path:
    """Build the bento below ``home``; returns its folder."""
    checkout = home / "checkout"
    checkout.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("repository", "__pycache__")
            shutil.copytree(source, checkout / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, checkout / name)
    repository = Repository(checkout / "models" / "repository")
    repository.publish("flights", handmade.manifest(), {"model.onnx": handmade.graph()})
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        cwd=checkout,
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    tag = done.stdout.partition("__tag__:")[2].strip()
    return home / "bentoml" / "bentos" / tag.replace(":", "/")


@contextmanager
def served(bento: Path, home: Path, python: str = sys.executable) -> Iterator[str]:
    """Serve a bento from its path, as its container does; yields the address."""
    port = free_port()
    process = subprocess.Popen(
        [python, "-m", "bentoml", "serve", str(bento), "--port", str(port), "--host", "127.0.0.1"],
        env=environment(home) | {"ROWCAST_WORKERS": "1", "ROWCAST_GRACE": "0"},
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def environment(home: Path) -> dict[str, str]:
    """An environment in which BentoML keeps to ``home``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ROWCAST_", "PYTHONPATH"))}
    own = {"BENTOML_HOME": str(home / "bentoml"), "BENTOML_DO_NOT_TRACK": "True", "ROWCAST_GRPC_PORT": "off"}
    return inherited | own
