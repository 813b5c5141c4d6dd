"""Triton's Python backend: rows come as JSON texts in one BYTES tensor, and its dynamic batcher joins requests."""

# mypy: ignore-errors
import json

import numpy as np
import triton_python_backend_utils as pb_utils
from onnx_rows import COLUMNS, run


class TritonPythonModel:
    def execute(self, requests):
        texts = [pb_utils.get_input_tensor_by_name(request, "rows").as_numpy()[:, 0] for request in requests]
        rows = [json.loads(text) for some in texts for text in some]
        labels, probabilities = run({name: [row[name] for row in rows] for name, _ in COLUMNS})
        labels = labels.astype(object).reshape(-1, 1)
        responses, start = [], 0
        for some in texts:
            part = slice(start, start + len(some))
            start = part.stop
            tensors = [
                pb_utils.Tensor("label", labels[part]),
                pb_utils.Tensor("probabilities", np.ascontiguousarray(probabilities[part])),
            ]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
