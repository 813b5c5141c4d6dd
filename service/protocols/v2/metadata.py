"""What Open Inference clients are told of the server and its models; the dictionaries are those of its JSON and gRPC.

A number, an integer and a boolean are FP64 with NaN for missing, a timestamp is INT64 epoch microseconds, a category is
BYTES. The first dimension of every tensor is its rows.
"""

from __future__ import annotations

import time
from typing import Any

from rowcast.models.signature import Signature
from rowcast.models.version import VERSION
from rowcast.service.columns.tensor_bytes import datatype_of
from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry

Content = dict[str, Any]

PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
SERVER: Content = {"name": "rowcast", "version": VERSION, "extensions": list(EXTENSIONS)}

_OUTPUT_DATATYPES = {"label": "BYTES", "probabilities": "FP32"}
_NANOSECONDS = 1e9


def output_datatype(output: str) -> str:
    """The datatype of an output of this name."""
    return _OUTPUT_DATATYPES.get(output, "FP64")


def width(signature: Signature, output: str) -> int:
    """Values that an output holds for each row."""
    return len(signature.classes) if output == "probabilities" else 1


def model(served: Model) -> Content:
    """A model's tensors."""
    signature = served.signature
    return {
        "name": served.name,
        "versions": [str(version) for version in served.versions],
        "platform": PLATFORM,
        "inputs": [
            {"name": column.name, "datatype": datatype_of(column.dtype), "shape": [-1, 1]}
            for column in signature.columns
        ],
        "outputs": [
            {"name": name, "datatype": output_datatype(name), "shape": [-1, width(signature, name)]}
            for name in signature.outputs
        ],
    }


def config(served: Model) -> Content:
    """A model's configuration, as Triton's tools ask for it: there, ``dims`` leaves out the rows."""

    def tensor(described: Content) -> Content:
        datatype = described["datatype"].replace("BYTES", "STRING")
        return {"name": described["name"], "data_type": f"TYPE_{datatype}", "dims": described["shape"][1:]}

    described = model(served)
    return {
        "name": served.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": served.versions}},
        "max_batch_size": served.columns.max_rows,
        "input": list(map(tensor, described["inputs"])),
        "output": list(map(tensor, described["outputs"])),
    }


def statistics(*models: Model) -> Content:
    """What models did since their worker started, whichever protocol asked. Another worker has other figures."""
    return {"model_stats": [_statistics(served) for served in models]}


def _statistics(served: Model) -> Content:
    served.meter.flush()
    totals = served.meter.totals
    nothing = {"count": 0, "ns": 0}

    def times(count: int, seconds: float) -> Content:
        return {"count": count, "ns": round(seconds * _NANOSECONDS)}

    return {
        "name": served.name,
        "version": str(served.version),
        "last_inference": 0 if totals.last_run is None else _epoch_ms(totals.last_run),
        "inference_count": totals.rows,
        "execution_count": totals.runs,
        "inference_stats": {
            "success": times(totals.answered, totals.answered_seconds),
            "fail": times(totals.refused, totals.refused_seconds),
            "queue": times(totals.requests, totals.queue_seconds),
            "compute_input": nothing,
            "compute_infer": times(totals.requests, totals.compute_seconds),
            "compute_output": nothing,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [],
    }


def _epoch_ms(moment: float) -> int:
    """A moment on the clock of ``time.perf_counter`` in milliseconds since 1970, as the protocol tells the time."""
    return round((time.time() - (time.perf_counter() - moment)) * 1000)


def index(registry: Registry, *, only_ready: bool = False) -> list[Content]:
    """The served models and versions; and those that are not served, with the reason, unless only ready ones count."""
    notes = {(note.name, note.version): note for note in registry.notes if note.version}
    gone = {key: note.reason for key, note in notes.items() if note.state == "REMOVED"}
    state = "READY" if registry.ready else "LOADING"
    listed = [(key, state, gone.get(key, "")) for key in registry.versions]
    listed += [(key, note.state, note.reason) for key, note in notes.items() if key not in registry.versions]
    return [
        {"name": name, "version": str(version), "state": state, "reason": reason}
        for (name, version), state, reason in listed
        if state == "READY" or not only_ready
    ]
