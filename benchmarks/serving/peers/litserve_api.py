"""LitServe with its fast queue and its batching."""

# mypy: ignore-errors
import litserve
from onnx_rows import PORT, predict


class Api(litserve.LitAPI):
    def setup(self, device):
        pass  # the session is opened by the import, in the worker too

    def decode_request(self, request):
        return request["rows"]

    def batch(self, inputs):
        self.sizes = [len(rows) for rows in inputs]
        return [row for rows in inputs for row in rows]

    def predict(self, rows):
        return predict(rows)

    def unbatch(self, answers):
        answers = iter(answers)
        return [[next(answers) for _ in range(size)] for size in self.sizes]

    def encode_response(self, answers):
        return {"predictions": answers}


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=64, batch_timeout=0.002),
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=True,
        timeout=False,
    )
    server.run(
        host="127.0.0.1",
        port=PORT,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
