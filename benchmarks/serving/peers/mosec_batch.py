"""Mosec with its dynamic batching: one worker, JSON by orjson."""

# mypy: ignore-errors
import os

import orjson
from mosec import Server, Worker
from onnx_rows import PORT, predict


class Rows(Worker):
    def deserialize(self, data):
        return orjson.loads(data)["rows"]

    def forward(self, requests):
        answers = iter(predict([row for rows in requests for row in rows]))
        return [[next(answers) for _ in rows] for rows in requests]

    def serialize(self, answers):
        return orjson.dumps({"predictions": answers})


if __name__ == "__main__":
    settings = {"ADDRESS": "127.0.0.1", "PORT": PORT, "TIMEOUT": 30_000, "LOG_LEVEL": "warning"}
    os.environ.update({f"MOSEC_{name}": str(value) for name, value in settings.items()})
    server = Server()
    server.append_worker(Rows, num=1, max_batch_size=64, max_wait_time=1, timeout=30, route="/predict")
    server.run()
