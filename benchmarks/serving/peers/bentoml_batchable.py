"""BentoML's batchable API: its dispatcher joins the rows of several requests."""

# mypy: ignore-errors
import bentoml
from onnx_rows import predict
from rows_model import Prediction, Row


@bentoml.service(
    workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False}, tracing={"excluded_urls": ".*"}
)
class Batchable:
    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=10_000)
    async def predict(self, rows: list[Row]) -> list[Prediction]:
        return [Prediction.model_construct(**answer) for answer in predict([dict(row) for row in rows])]
