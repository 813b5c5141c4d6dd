"""Proof: whatever happens to a publish, the old version or the new one is served, whole; and no changed model is.

1. A process that publishes in a loop is killed (SIGKILL) at 200 random points.
2. Every write of a publish fails once, as on a full disk: the operating system caps the size of a file.
3. 1,000 mutated models: bits flipped, bytes cut, inserted, swapped, in any of their files. Each is refused.

    make proof-store
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rowcast.models import ModelRefused, Repository, Session
from rowcast.models.repository import open_version
from tests.support import handmade

FILES = {"model.onnx": handmade.graph(), "weights.safetensors": b"w" * 700_000, "config.toml": b"c" * 3_000}


def child(work) -> int:
    """Do ``work`` in a process of its own; returns its id."""
    process = os.fork()
    if process == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the parent reads the exit code
            os._exit(1)
    return process


def publish_for_ever(root: Path) -> None:
    """Publish version after version."""
    while True:
        Repository(root).publish("flights", handmade.manifest(), FILES)


def all_whole(root: Path) -> bool:
    """Whether every version a reader can see opens and answers."""
    repository = Repository(root)
    versions = repository.versions("flights")
    for version in versions:
        Session.of(repository.open("flights", version), "cpu")
    return versions == list(range(1, len(versions) + 1))


def killed(root: Path, rng: random.Random, kills: int) -> tuple[int, int]:
    """Kills survived, and how many of them left a half-written folder behind for the next publish to clear."""
    survived = left = 0
    for _ in range(kills):
        process = child(lambda: publish_for_ever(root))
        time.sleep(rng.uniform(0.001, 0.03))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        left += any((root / "flights").glob(".publishing-*"))
        Repository(root).publish("flights", handmade.manifest(), FILES)
        survived += all_whole(root) and not any((root / "flights").glob(".publishing-*"))
        if len(Repository(root).versions("flights")) > 50:  # opening a few says as much as opening thousands
            shutil.rmtree(root)
    return survived, left


def full_disk(root: Path) -> tuple[int, int]:
    """Publishes that failed for want of space, and how many of them left the repository as it was."""
    Repository(root).publish("flights", handmade.manifest(), FILES)
    # here it is model.json that is too big
    tiny = {
        "model.onnx": FILES["model.onnx"][:100],
        "config.toml": b"",
    }
    limits = [(FILES, size) for size in (0, 1, 1000, len(FILES["model.onnx"]) - 1, len(FILES["model.onnx"]), 699_999)]
    limits += [(tiny, size) for size in (100, 500, 1500)]
    failed = intact = 0
    for files, limit in limits:

        def work(files=files, limit=limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            Repository(root).publish("flights", handmade.manifest(), files)

        failed += os.waitstatus_to_exitcode(os.waitpid(child(work), 0)[1]) == 1
        intact += sorted(entry.name for entry in (root / "flights").iterdir()) == [".lock", "1"] and all_whole(root)
    return failed, intact


def mutated(root: Path, rng: random.Random, mutations: int) -> int:
    """How many of the mutated models were refused."""
    path = Repository(root).publish("flights", handmade.manifest(), FILES | {"weights.safetensors": b"w" * 999}).path
    names = [*FILES, "model.json"]
    refused = 0
    for _ in range(mutations):
        file = path / rng.choice(names)
        original = file.read_bytes()
        changed = original
        while changed == original:
            changed = mutate(original, rng)
        file.write_bytes(changed)
        try:
            open_version(path)
        except ModelRefused:
            refused += 1
        file.write_bytes(original)
    open_version(path)
    return refused


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One small change, somewhere."""
    place = rng.randrange(len(content))
    kind = rng.randrange(4)
    if kind == 0:
        return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
    if kind == 1:
        return content[:place] + content[place + rng.randint(1, 16) :]
    if kind == 2:
        return content[:place] + rng.randbytes(rng.randint(1, 16)) + content[place:]
    other = rng.randrange(len(content))
    swapped = bytearray(content)
    swapped[place], swapped[other] = swapped[other], swapped[place]
    return bytes(swapped)


def main() -> int:
    """Run the three; 0 when nothing was lost and nothing slipped through."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--mutations", type=int, default=1000)
    options = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        survived, left = killed(Path(folder) / "killed", rng, options.kills)
        failed, intact = full_disk(Path(folder) / "full")
        refused = mutated(Path(folder) / "mutated", rng, options.mutations)
    whole = f"{survived} of {options.kills} left every version whole"
    print(f"killed while publishing: {whole} ({left} left a folder to clear)")
    print(f"writes that failed: {failed} of 9, the old version intact after {intact}")
    print(f"mutated models: {refused:,} of {options.mutations:,} refused")
    return 0 if (survived, failed, intact, refused) == (options.kills, 9, 9, options.mutations) else 1


if __name__ == "__main__":
    sys.exit(main())
