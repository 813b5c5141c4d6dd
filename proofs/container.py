"""Container images without an engine, a registry or a daemon: buildah in a chroot, on a base made by debootstrap.

Images and containers live below one folder; whoever removes it has removed them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOOLS = ("buildah", "debootstrap")
BASE = "localhost/base:latest"
_SUITE = "bookworm"
"""Debian with Python 3.11, which is what python:3.11-slim is made from."""
_PACKAGES = ("python3", "python3-venv", "python3-pip", "ca-certificates")


def missing() -> str:
    """Why images cannot be built here, and the way out; empty when they can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"needs {' and '.join(absent)}: apt-get install {' '.join(absent)}"
    return "" if os.geteuid() == 0 else "needs root: debootstrap and a chroot are not for others"


class Buildah:
    """buildah with a storage of its own.

    Args:
        home: an empty folder for it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        settings = home / "storage.conf"
        settings.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{home / "graph"}"\nrunroot = "{home / "run"}"\n')
        self.log = home / "containers.log"
        """What runs in containers writes here."""
        self.environment = {
            "CONTAINERS_STORAGE_CONF": str(settings),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_FORMAT": "docker",  # OCI's own format knows no HEALTHCHECK
        }

    def __call__(self, *arguments: str) -> str:
        """What a command prints.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        command = ["buildah", *arguments]
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def make_base(self) -> None:
        """Make :data:`BASE`, which has what the official slim image has: Debian, and Python as ``python``."""
        root = self.home / "base"
        include = f"--include={','.join(_PACKAGES)}"
        with open(self.home / "debootstrap.log", "w") as log:
            subprocess.run(["debootstrap", "--variant=minbase", include, _SUITE, root], stdout=log, check=True)
        (root / "usr" / "local" / "bin" / "python").symlink_to("/usr/bin/python3")
        for fetched in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(root / fetched)
        container = self("from", "scratch")
        self("add", "--quiet", container, str(root), "/")
        self("commit", "--quiet", container, BASE)
        self("rm", container)
        shutil.rmtree(root)

    def inspect(self, image: str) -> dict[str, Any]:
        """The configuration of an image: ``User``, ``Env``, ``Entrypoint``, ``Healthcheck`` and so on."""
        found = json.loads(self("inspect", "--type", "image", image))
        return dict(found["Docker"]["config"])

    @contextmanager
    def container(self, image: str) -> Iterator[tuple[str, Path]]:
        """A container of an image: its name, and its files as seen from outside."""
        name = self("from", "--pull-never", image)
        try:
            yield name, Path(self("mount", name))
        finally:
            self("umount", name)
            self("rm", name)

    def start(self, container: str, command: Sequence[str], settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Run a command in a container as the image's own user, with ``settings`` added to its environment."""
        added = [f"--env={name}={value}" for name, value in settings.items()]
        run = ["buildah", "run", *added, container, "--", *command]
        with open(self.log, "ab") as log:
            return subprocess.Popen(run, env={**os.environ, **self.environment}, stdout=log, stderr=log)


def size(folder: Path) -> int:
    """Bytes of the files in a folder, those of other file systems left out and a file with two names counted once."""
    done = subprocess.run(["du", "-sxb", folder], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[0])
