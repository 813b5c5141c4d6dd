"""MLServer, HTTP and gRPC, with a runtime of its own in the server's process: a tensor a column."""

# mypy: ignore-errors
import os

import numpy as np
import uvloop
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceResponse, ResponseOutput
from onnx_rows import PORT, session

DTYPES = {"FP64": np.float64, "INT64": np.int64}


def column(tensor):
    """The graph input of a tensor: texts are str over JSON and bytes over gRPC."""
    data = tensor.data.root
    if tensor.datatype == "BYTES":
        return np.array([[text if isinstance(text, str) else text.decode()] for text in data], object)
    return np.array(data, DTYPES[tensor.datatype]).reshape(-1, 1)


class Runtime(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        inputs = {tensor.name: column(tensor) for tensor in payload.inputs}
        labels, probabilities = session.run(["label", "probabilities"], inputs)
        outputs = [
            ResponseOutput(name="label", shape=list(labels.shape), datatype="BYTES", data=labels[:, 0].tolist()),
            ResponseOutput(
                name="probabilities",
                shape=list(probabilities.shape),
                datatype="FP32",
                data=probabilities.reshape(-1).tolist(),
            ),
        ]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)


async def main():
    settings = Settings(
        host="127.0.0.1",
        http_port=PORT,
        grpc_port=int(os.environ["SECOND_PORT"]),
        parallel_workers=0,
        metrics_endpoint=None,
        debug=False,
        gzip_enabled=False,
        load_models_at_startup=False,
    )
    server = MLServer(settings)
    await server.start([ModelSettings(name="flights", implementation=Runtime, parallel_workers=0)])


if __name__ == "__main__":
    uvloop.run(main())
