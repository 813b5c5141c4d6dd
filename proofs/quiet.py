"""Nothing is sent home: training, prediction, the Python API and both ways to serve, in a network with a recorder.

    make proof-quiet            # ARGS=--seconds=60

Each runs with a home of its own and with no variable that could tell a library to be silent. None may look up a name,
call anyone, or write the files in which ONNX Runtime keeps what it reports. That the recorder would notice is shown by
programs that do look up a name, and that do call an address.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from proofs.network import Recorder, enter

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PORTS = (3100, 3101)
_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV")
API = """
import sys, rowcast
config = {"fit": {"epochs": 2}, "network": {"members": 2}}
model = rowcast.fit(sys.argv[1], target="y", name="api", repository=sys.argv[2], **config)
rowcast.load("api", repository=sys.argv[2]).predict(sys.argv[1])
import time
time.sleep(float(sys.argv[3]))  # what a library reports it may report later
"""
LOOKS_UP = "import socket; socket.getaddrinfo('telemetry.example', 443)"
CALLS = "import socket; s = socket.socket(); s.settimeout(5); s.connect_ex(('198.51.100.9', 443))"
_FAST = ("--epochs", "2", "--set", "network.members=2", "--set", "network.layers=[16]")


def main() -> int:
    """0 when nothing was sent, and the controls were noticed."""
    code = enter()
    if code is not None:
        return code
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each service is watched")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="quiet-") as folder:
        return _prove(Path(folder), seconds)


def _prove(scratch: Path, seconds: float) -> int:
    home, table, repository = scratch / "home", scratch / "table.csv", scratch / "repository"
    home.mkdir()
    table.write_text("a,b,y\n" + "".join(f"{i % 17},{'xyz'[i % 3]},{(i * 7 % 17) / 2 + i % 3}\n" for i in range(400)))
    recorder = Recorder(scratch)
    failed = False

    def told(what: str, mark: int, *, loud: bool = False) -> None:
        nonlocal failed
        seen = recorder.since(mark)
        failed |= bool(seen) != loud
        verdict = "as it should" if bool(seen) == loud else "WRONG"
        print(f"{what}: {', '.join(seen) or 'nothing looked up, nobody called'} ({verdict})", flush=True)

    for what, code in (("control, looks up a name", LOOKS_UP), ("control, calls an address", CALLS)):
        mark = len(recorder.seen)
        subprocess.run([sys.executable, "-c", code], env=_environment(home), check=False)
        time.sleep(0.5)
        told(what, mark, loud=True)

    rowcast, short = str(BIN / "rowcast"), str(min(seconds, 20.0))
    train = ("train", str(table), "--target", "y", "--name", "cli", "--repository", str(repository), *_FAST)
    predict = ("predict", "cli", str(table), "--out", str(scratch / "out.csv"), "--repository", str(repository))
    for what, command in (
        ("rowcast train", (rowcast, *train)),
        ("rowcast predict", (rowcast, *predict)),
        ("the Python API", (sys.executable, "-c", API, str(table), str(repository), short)),
    ):
        mark = len(recorder.seen)
        done = subprocess.run(command, cwd=ROOT, env=_environment(home), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{what} failed: {done.stderr}")
            return 1
        told(what, mark)

    serving = (
        ("rowcast serve", (rowcast, "serve", "--port", str(PORTS[0]))),
        ("bentoml serve", (str(BIN / "bentoml"), "serve", "rowcast.service:Rowcast", "--port", str(PORTS[1]))),
    )
    for (what, command), port in zip(serving, PORTS, strict=True):
        mark = len(recorder.seen)
        _watch_service(command, port, _environment(home, ROWCAST_REPOSITORY=str(repository)), seconds, scratch)
        told(f"{what}, {seconds:g} s", mark)

    written = [str(file.relative_to(home)) for file in home.rglob("*onnxruntime*")]
    failed |= bool(written)
    print(f"files of ONNX Runtime's telemetry: {', '.join(written) or 'none'}")
    return int(failed)


def _watch_service(command: Sequence[str], port: int, env: dict[str, str], seconds: float, scratch: Path) -> None:
    with open(scratch / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    sys.exit((scratch / "log").read_text())
                time.sleep(0.1)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for page in ("models", "metrics", ""):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=30).close()
            time.sleep(0.5)
    finally:
        process.terminate()
        process.wait(30)


def _environment(home: Path, **more: str) -> dict[str, str]:
    """An environment that asks nobody to be silent."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    quick = {"ROWCAST_WORKERS": "1", "ROWCAST_GRACE": "0"}
    return kept | {"HOME": str(home), "TMPDIR": str(home)} | quick | more


if __name__ == "__main__":
    sys.exit(main())
