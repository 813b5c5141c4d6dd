"""MLServer with a runtime of its own, in the server's process: rows come as JSON texts in one BYTES tensor."""

# mypy: ignore-errors
import os

import orjson
import uvloop
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceResponse, ResponseOutput
from onnx_rows import COLUMNS, PORT, run


class Runtime(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        rows = [orjson.loads(text) for text in payload.inputs[0].data]
        labels, probabilities = run({name: [row[name] for row in rows] for name, _ in COLUMNS})
        outputs = [
            ResponseOutput(name="label", shape=[len(rows), 1], datatype="BYTES", data=labels.tolist()),
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
