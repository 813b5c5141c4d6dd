"""Proof: the platforms' own clients speak with a running service as with their own servers.

Each client is installed into an environment of its own under ``.bench``, in an exact version, and asks a service that
is started here: MLflow's ``ScoringServerClient``, KServe's ``InferenceRESTClient`` in its V1 protocol, SageMaker's
serializers and deserializers around plain HTTP, and Vertex AI's ``LocalEndpoint``, whose container is that service,
started with the variables that it would give one. Needs a package index, some minutes and 2 GiB of disk.

    make proof-platforms
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.service.hostile_payloads import ROW
from tests.service.servers import publish_flights
from tests.support import handmade
from tests.support.serving import free_port, wait_until_ready

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = ROOT / "proofs" / "platform_clients"
SCRATCH = ROOT / ".bench" / "platforms"
TOLERANCE = 1e-6


class Client(NamedTuple):
    """A platform's client, and what to install for it."""

    name: str
    package: str
    requirements: tuple[str, ...]


CLIENT_LIST = (
    Client("mlflow", "mlflow-skinny", ("mlflow-skinny==3.17.2", "pandas==2.3.3", "scipy")),
    Client("kserve", "kserve", ("kserve==0.21.0",)),
    Client("sagemaker", "sagemaker-core", ("sagemaker-core==2.27.0",)),
    Client("vertex", "google-cloud-aiplatform", ("google-cloud-aiplatform[prediction]==2.7.0",)),
)


def main() -> int:
    """Ask with every client, or those that are named; 0 when all got what the model's arithmetic says."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="rowcast-platforms-") as folder:
        home = Path(folder)
        publish_flights(home / "repository")
        for client in CLIENT_LIST:
            if len(sys.argv) > 1 and client.name not in sys.argv[1:]:
                continue
            python = installed(client)
            version = run(python, "-c", f"import importlib.metadata as m; print(m.version({client.package!r}))")
            asked, wrong = exchange(client, python, home)
            print(
                f"{'ok  ' if not wrong else 'FAIL'} {client.package} {version.strip()}: {asked} exchanges", flush=True
            )
            for words in wrong:
                print(f"     {words}")
            failed += wrong
    return 1 if failed else 0


def installed(client: Client) -> Path:
    """The Python of an environment that has a client."""
    home = SCRATCH / client.name
    made = home / ".made"
    python = home / "bin" / "python"
    wanted = "\n".join(client.requirements)
    if not made.exists() or made.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *client.requirements)
        made.write_text(wanted)
    return python


def run(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def exchange(client: Client, python: Path, home: Path) -> tuple[int, list[str]]:
    """Serve, and have a client ask; how often it did, and what went wrong."""
    port = free_port()
    own = {"ROWCAST_GRPC_PORT": "off", "ROWCAST_WORKERS": "1", "ROWCAST_GRACE": "0", "AIP_HTTP_PORT": str(port)}
    if client.name == "vertex":  # as LocalEndpoint starts a container
        own |= {"AIP_HEALTH_ROUTE": "/health", "AIP_PREDICT_ROUTE": "/predict", "AIP_STORAGE_URI": ""}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ROWCAST_", "AIP_"))}
    service = subprocess.Popen(
        [sys.executable, "-m", "rowcast", "serve", "--repository", str(home / "repository")],
        env=inherited | own,
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", service)
        done = subprocess.run(
            [str(python), str(CLIENTS / f"{client.name}_client.py"), str(port)],
            input=json.dumps(ROW),
            capture_output=True,
            text=True,
            cwd=home,
            check=False,
        )
    finally:
        service.terminate()
        service.wait(30)
    if done.returncode != 0:
        return 0, [f"exit code {done.returncode}: {done.stderr[-2000:]}"]
    exchanges = json.loads(done.stdout.splitlines()[-1])
    return len(exchanges), [f"{what}: {got}" for what, got in exchanges.items() if not _is_right(what, got)]


def _is_right(what: str, got: object) -> bool:
    """Whether an answer is what it should be: a probability where there was a row, else what the client understood."""
    if not isinstance(got, float):
        return got is True
    row = {**ROW, "distance": None, "departs": None} if "missing" in what else ROW
    return abs(got - handmade.late(row)) < TOLERANCE


if __name__ == "__main__":
    sys.exit(main())
