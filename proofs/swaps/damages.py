"""Versions that must never go live: what becomes of publishes that go wrong, and what nobody should publish."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from proofs.swaps.asking import weight
from rowcast.models.repository import Repository
from tests.service.live.versions import graph, nan_graph, publish, publish_graph, slow_graph
from tests.service.servers import ROOT
from tests.support import handmade

Damage = Callable[[Path, random.Random], object]
"""Publishes what is no good."""

_KILLED = """
import sys
from pathlib import Path
from tests.service.live.versions import publish
print("ready", flush=True)
sys.stdin.readline()
publish(Path(sys.argv[1]), float(sys.argv[2]))
"""


def _next(root: Path) -> int:
    return Repository(root).versions("flights")[-1] + 1


def _placed(root: Path, change: Callable[[Path], None]) -> int:
    """A version that was whole, and is changed before it is where it belongs."""
    elsewhere, version = root.parent / "elsewhere", _next(root)
    shutil.rmtree(elsewhere, ignore_errors=True)
    (elsewhere / "flights" / str(version - 1)).mkdir(parents=True)
    path = publish(elsewhere, weight(version)).path
    change(path)
    path.rename(root / "flights" / str(version))
    return version


def _truncated(root: Path, dice: random.Random) -> int:
    def cut(path: Path) -> None:
        file = path / dice.choice(["model.onnx", "model.json"])
        os.truncate(file, dice.randrange(file.stat().st_size))

    return _placed(root, cut)


def _flipped(root: Path, dice: random.Random) -> int:
    def flip(path: Path) -> None:
        file = path / dice.choice(["model.onnx", "model.json"])
        content = bytearray(file.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        file.write_bytes(content)

    return _placed(root, flip)


def _of_another(root: Path, dice: random.Random) -> int:
    return _placed(root, lambda path: (path / "model.onnx").write_bytes(graph(dice.random())) and None)


def _undeclared(root: Path, dice: random.Random) -> int:
    return _placed(root, lambda path: (path / "more.bin").write_bytes(dice.randbytes(9)) and None)


def _copied_slowly(root: Path, dice: random.Random) -> int:
    """A folder that a copy makes file by file, and that is never whole."""
    version = _next(root)
    into = root / "flights" / str(version)
    into.mkdir()
    content = graph(weight(version))
    with open(into / "model.onnx", "wb") as file:
        for at in range(0, len(content), 1 + len(content) // 4):
            file.write(content[at : at + 100])
            file.flush()
            time.sleep(dice.random() / 5)
    return version


def _vanishing(root: Path, dice: random.Random) -> None:
    """A damaged one that is removed again while it is tried."""
    version = _placed(root, lambda path: (path / "model.onnx").write_bytes(b"gone soon") and None)
    time.sleep(dice.random())
    shutil.rmtree(root / "flights" / str(version))


def _losing(root: Path, dice: random.Random) -> None:
    """A good one that loses a file while it is read, tried or opened. If it was read before, it may go live."""
    version = _placed(root, lambda path: None)
    time.sleep(dice.random())
    (root / "flights" / str(version) / dice.choice(["model.onnx", "model.json"])).unlink()


def _not_finite(root: Path, dice: random.Random) -> int:
    return publish_graph(root, nan_graph()).manifest.version


def _slow(root: Path, dice: random.Random) -> int:
    return publish_graph(root, slow_graph()).manifest.version


def _no_graph(root: Path, dice: random.Random) -> int:
    return publish_graph(root, dice.randbytes(1000)).manifest.version


def _other_signature(root: Path, dice: random.Random) -> int:
    other = handmade.BINARY.model_copy(update={"columns": handmade.COLUMNS[::-1]})
    signature = dice.choice([handmade.REGRESSION, other])
    content = graph(1.0, signature)
    return Repository(root).publish("flights", handmade.manifest(signature), {"model.onnx": content}).manifest.version


def _killed(root: Path, dice: random.Random) -> None:
    """A publisher that is killed at a random moment: nothing of it may be seen, or a version that is whole."""
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(root), str(weight(_next(root)))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    delay = dice.random() ** 3 / 5  # early, most of them: on an idle machine a version is there after some 20 ms
    timer = threading.Timer(delay, lambda: process.send_signal(signal.SIGKILL))
    timer.start()
    process.stdin.write(b"\n")
    process.stdin.close()
    process.wait()
    timer.join()
    process.stdout.close()


DAMAGES: dict[str, Damage] = {
    "truncated": _truncated,
    "flipped bit": _flipped,
    "another graph": _of_another,
    "undeclared file": _undeclared,
    "copied slowly": _copied_slowly,
    "vanishing": _vanishing,
    "losing a file": _losing,
    "not finite": _not_finite,
    "1 s a row": _slow,
    "no graph": _no_graph,
    "other signature": _other_signature,
    "killed publisher": _killed,
}
MAY_BE_WHOLE = frozenset({"losing a file", "killed publisher"})
"""Those that may be good when they are read."""
