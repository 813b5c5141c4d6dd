"""Who is measured: how each server is started, in which environment, and which JSON it speaks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.cells import ROOT
from benchmarks.serving.harness.environments import NotMade, python_of
from benchmarks.serving.harness.processes import NotStarted

PEERS = ROOT / "benchmarks" / "serving" / "peers"
_SHARED = (PEERS / "onnx_rows.py", PEERS / "rows_model.py")

Rows = Sequence[dict[str, Any]]
Answers = list[tuple[str, list[float]]]
"""Label, and probabilities in the order of the classes, of each row."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The JSON a server takes and gives."""

    write: Callable[[Rows], bytes]
    read: Callable[[bytes, Sequence[str]], Answers]
    """Of a body, and of the classes in order."""


def _read_rows(body: bytes, classes: Sequence[str]) -> Answers:
    content = orjson.loads(body)
    predictions = content if isinstance(content, list) else content["predictions"]
    return [(p["label"], [p["probabilities"][name] for name in classes]) for p in predictions]


def _write_v2(rows: Rows) -> bytes:
    data = [orjson.dumps(row).decode() for row in rows]
    return orjson.dumps({"inputs": [{"name": "rows", "shape": [len(rows), 1], "datatype": "BYTES", "data": data}]})


def _read_v2(body: bytes, classes: Sequence[str]) -> Answers:
    outputs = {output["name"]: output["data"] for output in orjson.loads(body)["outputs"]}
    n = len(classes)
    return [(label, outputs["probabilities"][i * n : i * n + n]) for i, label in enumerate(outputs["label"])]


ROWS = Dialect(lambda rows: orjson.dumps({"rows": rows}), _read_rows)
V2 = Dialect(_write_v2, _read_v2)


@dataclass(frozen=True, slots=True)
class Contender:
    """One server.

    ``arguments`` follow the environment's Python; ``{port}`` in them is the port. A contender with ``own_environment``
    has its requirements in ``peers/<name>.txt``.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    ready: str = "/readyz"
    path: str = "/predict"
    dialect: Dialect = ROWS
    own_environment: bool = False
    may_be_held: bool = True
    """Triton's processes share locks with a time limit, and abort when one is held still past it."""
    uses: tuple[str, ...] = ()
    """Files of other peers that it runs."""

    @property
    def files(self) -> list[Path]:
        """The code that makes it what it is, besides Rowcast's."""
        own = [*PEERS.glob(f"{self.name}.*"), *PEERS.glob(f"{self.name.partition('_')[0]}_*.py")]
        return sorted({*own, *_SHARED, *(PEERS / name for name in self.uses)})

    def command(self, port: int, scratch: Path) -> list[str]:
        """What starts it.

        Raises:
            NotStarted: its environment cannot be made.
        """
        try:
            python = python_of(PEERS / f"{self.name}.txt", scratch) if self.own_environment else sys.executable
        except NotMade as error:
            raise NotStarted(str(error)) from None
        return [python, *(argument.format(port=port) for argument in self.arguments)]


OURS = Contender("rowcast", "Rowcast", ("-m", "rowcast", "serve", "--port", "{port}"))

PEER_LIST = (
    Contender("by_hand", "by hand: Starlette, orjson, no validation", ("by_hand.py",), ready="/ready"),
    Contender(
        "granian_by_hand",
        "by hand, under Granian instead of uvicorn",
        ("granian_by_hand.py",),
        ready="/ready",
        own_environment=True,
        uses=("by_hand.py",),
    ),
    Contender(
        "fastapi_pydantic", "FastAPI, pydantic", ("fastapi_pydantic.py",), ready="/openapi.json", own_environment=True
    ),
    Contender(
        "bentoml_typed", "BentoML, typed API", ("-m", "bentoml", "serve", "bentoml_typed:Typed", "--port", "{port}")
    ),
    Contender(
        "bentoml_batchable",
        "BentoML, batchable API",
        ("-m", "bentoml", "serve", "bentoml_batchable:Batchable", "--port", "{port}"),
    ),
    Contender(
        "litserve_api", "LitServe, batches within 2 ms", ("litserve_api.py",), ready="/health", own_environment=True
    ),
    Contender("mosec_batch", "Mosec, batches within 1 ms", ("mosec_batch.py",), ready="/", own_environment=True),
    Contender(
        "mlserver_runtime",
        "MLServer, V2 JSON",
        ("mlserver_runtime.py",),
        ready="/v2/health/ready",
        path="/v2/models/flights/infer",
        dialect=V2,
        own_environment=True,
    ),
    Contender(
        "triton_python",
        "Triton, Python backend, V2 JSON",
        ("triton_python.py",),
        ready="/v2/health/ready",
        path="/v2/models/flights/infer",
        dialect=V2,
        own_environment=True,
        may_be_held=False,
    ),
)
