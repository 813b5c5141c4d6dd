"""ONNX Runtime and nothing else: what a core gives when the inputs lie ready."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.serving.harness.contenders import Answers
from benchmarks.serving.harness.processes import busy_s, pinned
from benchmarks.serving.tensors.tables import Table, rows_of
from rowcast.models.repository import StoredModel


class Bare:
    """A session with the settings of the service's, run in this process.

    Args:
        model: what it runs.
        core: where it runs; the servers' own.
    """

    def __init__(self, model: StoredModel, core: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # then a run is done by the thread that asks for it, on that thread's core
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._session = ort.InferenceSession(model.graph, options, providers=["CPUExecutionProvider"])
        self._outputs = list(model.manifest.signature.outputs)
        self._core = core

    def answers(self, table: Table) -> Answers:
        """Label and probabilities of each row."""
        labels, probabilities = self._session.run(self._outputs, table)
        return list(zip(np.ravel(labels).tolist(), probabilities.tolist(), strict=True))

    def measure(self, tables: Sequence[Table], seconds: float) -> dict[str, Any]:
        """Rows a second, one table a run; and what others used of the core meanwhile."""
        with pinned(self._core):
            self._session.run(self._outputs, tables[0])
            rows = 0
            busy, own, started = busy_s(self._core), sum(os.times()[:2]), time.perf_counter()
            for table in itertools.cycle(tables):
                self._session.run(self._outputs, table)
                rows += rows_of(table)
                if (wall := time.perf_counter() - started) >= seconds:
                    break
            others = busy_s(self._core) - busy - (sum(os.times()[:2]) - own)
        return {"rows_per_s": rows / wall, "others": max(others, 0.0) / wall}
