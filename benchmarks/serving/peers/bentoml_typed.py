"""BentoML's documented typed API: pydantic in, pydantic out; an async method, so that nothing hops to a thread."""

# mypy: ignore-errors
import bentoml
from onnx_rows import predict
from pydantic import BaseModel
from rows_model import Prediction, Row


class Answer(BaseModel):
    predictions: list[Prediction]


@bentoml.service(
    workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False}, tracing={"excluded_urls": ".*"}
)
class Typed:
    @bentoml.api
    async def predict(self, rows: list[Row]) -> Answer:
        return Answer(predictions=predict([dict(row) for row in rows]))
