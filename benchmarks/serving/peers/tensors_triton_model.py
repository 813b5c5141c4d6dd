"""Triton's Python backend: a tensor a column, and its dynamic batcher joins requests."""

# mypy: ignore-errors
import numpy as np
import triton_python_backend_utils as pb_utils
from onnx_rows import COLUMNS, session


def column(kind, parts):
    """The graph input of a column, of the tensors of all requests."""
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if kind == "category":
        return np.array([[text.decode()] for text in values[:, 0].tolist()], object)
    return values


class TritonPythonModel:
    def execute(self, requests):
        inputs = {}
        for name, kind in COLUMNS:
            inputs[name] = column(kind, [pb_utils.get_input_tensor_by_name(r, name).as_numpy() for r in requests])
        labels, probabilities = session.run(["label", "probabilities"], inputs)
        labels = labels.astype(object)
        responses, start = [], 0
        for request in requests:
            rows = pb_utils.get_input_tensor_by_name(request, COLUMNS[0][0]).shape()[0]
            part = slice(start, start + rows)
            start = part.stop
            tensors = [
                pb_utils.Tensor("label", labels[part]),
                pb_utils.Tensor("probabilities", np.ascontiguousarray(probabilities[part])),
            ]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
