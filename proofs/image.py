"""Proof: the container image serves as it should, from a real build of it, and holds nothing that it should not.

Two versions of a model are published, one is chosen for a bento, and `bentoml containerize` builds the image with
buildah. The image is then started with its own entrypoint and user: it must become ready, answer right, replace a
killed worker, write nowhere but /tmp and end well when told to. Needs root, buildah, debootstrap, a package index, a
Debian mirror, 5 GiB of disk and some minutes.

    make image-test
    make image-test BASE=docker.io/library/python:3.11-slim     # where there is a registry
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from proofs import container
from rowcast.models import Repository
from tests.support import bento, handmade
from tests.support.serving import ask, free_port, wait_until_ready

UNWANTED_PROGRAMS = ("gcc", "cc", "g++", "make", "git", "curl")
UNWANTED_MODULES = ("torch", "polars", "onnx", "pytest")
WITHIN_SECONDS = 15.0
"""How long a worker may take to come back, and the service to end beyond its grace."""
GRACE_SECONDS = 1.0

_LOOK = """
import importlib.util, os, shutil, sys
print("uid", os.getuid())
print("has", *[name for name in sys.argv[1].split(",") if shutil.which(name)])
print("imports", *[name for name in sys.argv[2].split(",") if importlib.util.find_spec(name)])
"""


def main() -> int:
    """Build, look, run, kill, stop; 0 when all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="an image to build on, instead of one made by debootstrap")
    base = parser.parse_args().base
    if why := container.missing():
        print(f"skipped, and so nothing is proved: {why}", file=sys.stderr)
        return 1
    failures: list[str] = []

    def check(what: str, holds: bool) -> None:
        print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
        if not holds:
            failures.append(what)

    with tempfile.TemporaryDirectory(prefix="rowcast-image-") as folder:
        home = Path(folder)
        (home / "buildah").mkdir()
        buildah = container.Buildah(home / "buildah")
        if base is None:
            buildah.make_base()
        image = build(home, buildah, base or container.BASE)
        with buildah.container(base or container.BASE) as (_, files):
            base_size = container.size(files)
        with buildah.container(image) as (name, files):
            total = container.size(files)
            print(
                f"image {total / 2**20:,.0f} MiB uncompressed, {(total - base_size) / 2**20:,.0f} MiB of it on its base"
            )
            look(buildah, name, files, check)
            run(buildah, image, name, files, check)
    return 1 if failures else 0


def build(home: Path, buildah: container.Buildah, base: str) -> str:
    """Publish two versions, choose the first for a bento, and make its image; returns the image's name."""
    repository = Repository(home / "repository")
    for _ in range(2):
        repository.publish("flights", handmade.manifest(), {"model.onnx": handmade.graph()})
    environment = bento.environment(home) | buildah.environment
    chosen = {"ROWCAST_REPOSITORY": str(repository.root), "ROWCAST_MODELS": "flights:1"}
    made = subprocess.run(
        [sys.executable, "-m", "image.bento"],
        cwd=bento.ROOT,
        env=environment | chosen,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    tag = made.stdout.split()[0]
    wheels = fetch(home)
    options = [
        f"build-arg=BASE_IMAGE={base}",
        f"volume={wheels}:/wheels:ro",
        f"secret=id=pip.conf,src={wheels}/pip.conf",
    ]
    command = [sys.executable, "-m", "bentoml", "containerize", tag, "--backend", "buildah", "--image-tag", tag]
    for option in options:
        command += ["--opt", option]
    # BentoML fills in the template only below the working directory, and works in a temporary folder.
    subprocess.run(command, cwd=home, env=environment | {"TMPDIR": str(home)}, check=True)
    return f"localhost/{tag}"


def fetch(home: Path) -> Path:
    """A folder with the locked wheels and the settings with which pip, in there, takes them and asks nobody.

    So the build needs no network, and no settings of this machine's pip.
    """
    folder = home / "wheels"
    lock = bento.ROOT / "requirements-serving.lock"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--python-version", "3.11", "--dest", str(folder)]
    subprocess.run([*command, "--requirement", str(lock)], check=True)
    (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return folder


def look(buildah: container.Buildah, name: str, files: Path, check: Callable[[str, bool], None]) -> None:
    """What the image holds, asked inside it with its own Python."""
    programs, modules = ",".join((*UNWANTED_PROGRAMS, "bash")), ",".join((*UNWANTED_MODULES, "onnxruntime"))
    seen = buildah("run", name, "--", "python", "-c", _LOOK, programs, modules).splitlines()
    check(f"does not run as root: {seen[0]}", seen[0] == "uid 1034")
    check(f"no {', '.join(UNWANTED_PROGRAMS)}, of which and bash it {seen[1]}", seen[1] == "has bash")
    check(f"no {', '.join(UNWANTED_MODULES)}, of which and onnxruntime it {seen[2]}", seen[2] == "imports onnxruntime")
    repository = files / "home/bentoml/bento/src/models/repository"
    versions = sorted(f"{path.parent.name}:{path.name}" for path in repository.glob("*/*"))
    check(f"holds the chosen version alone: {', '.join(versions)}", versions == ["flights:1"])


def run(buildah: container.Buildah, image: str, name: str, files: Path, check: Callable[[str, bool], None]) -> None:
    """Serve from the image as an engine would: entrypoint, command, user and environment are the image's own."""
    config = buildah.inspect(image)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"PORT": str(port), "ROWCAST_WORKERS": "2", "ROWCAST_GRACE": str(GRACE_SECONDS)}
    before = time.time()
    started = time.monotonic()
    process = buildah.start(name, [*config["Entrypoint"], *(config.get("Cmd") or [])], settings)
    changed: set[Path] = set()
    try:
        wait_until_ready(url, process)
        print(f"ready {time.monotonic() - started:.1f} s after the start")
        workers = workers_of(process)
        supervisor = workers[0].parent()
        assert supervisor is not None
        users = sorted({child.uids().real for child in (supervisor, *workers)})
        check(f"{len(workers)} workers and their supervisor run as {users}", (len(workers), users) == (2, [1034]))
        row = handmade.BINARY.example_row()
        answer = ask(url, [row])[0]
        check(f"answers {answer}, and {handmade.late(row):.8f} is right", right(answer, row))
        probe = config["Healthcheck"]["Test"]
        healthy = buildah.start(name, probe[1:], {"PORT": str(port)}).wait(60)
        sick = buildah.start(name, probe[1:], {"PORT": str(free_port())}).wait(60)
        check("its health check says yes here and no where nobody listens", healthy == 0 != sick)

        check("its environment says BENTOML_CONTAINERIZED", "BENTOML_CONTAINERIZED=true" in config["Env"])
        workers[0].kill()
        killed = time.monotonic()
        back = until(lambda: len(set(workers_of(process)) - {workers[0]}) == 2)
        ready = back and until(lambda: all(right(ask(url, [row])[0], row) for _ in range(20)))
        check(f"a killed worker is replaced, within {time.monotonic() - killed:.1f} s", ready)

        changed.update(changed_since(before, files))  # what it writes while it serves, it clears away when it ends
        supervisor.terminate()
        told = time.monotonic()
        ended = process.wait(GRACE_SECONDS + WITHIN_SECONDS)
        took = time.monotonic() - told
        check(f"told to stop, it ends with code {ended} after {took:.1f} s", ended == 0 and took >= GRACE_SECONDS)
    finally:
        if process.poll() is None:  # something above went wrong
            for left in psutil.Process(process.pid).children(recursive=True):
                left.kill()
            process.wait(30)
            print(buildah.log.read_text(errors="replace"), file=sys.stderr)
    changed.update(changed_since(before, files))
    written = [path for path in changed if not path.is_relative_to("tmp")]
    check(
        f"of {len(changed)} files that it wrote, {len(written)} are not in /tmp: it runs with a read-only root",
        bool(changed) and not written,
    )


def right(answer: dict, row: dict) -> bool:
    """Whether a prediction is what the model's arithmetic says."""
    return abs(answer["probabilities"]["late"] - handmade.late(row)) <= 1e-6


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The living workers below a process."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "_bentoml_impl.worker.service" in child.cmdline():
                found.append(child)
    return found


def until(holds: Callable[[], bool]) -> bool:
    """Wait for something; whether it came."""
    give_up = time.monotonic() + WITHIN_SECONDS
    while time.monotonic() < give_up:
        try:
            if holds():
                return True
        except (OSError, psutil.NoSuchProcess):  # of the worker that was killed
            pass
        time.sleep(0.05)
    return False


def changed_since(moment: float, files: Path) -> list[Path]:
    """Files written or made after ``moment``, relative to ``files``."""
    found = (Path(folder) / name for folder, _, names in os.walk(files) for name in names)
    return [
        path.relative_to(files)
        for path in found
        if path.is_file() and not path.is_symlink() and path.stat().st_mtime > moment
    ]


if __name__ == "__main__":
    sys.exit(main())
