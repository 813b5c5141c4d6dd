"""What ``/docs.json`` says of the platforms' routes: for each the form of rows that names columns."""

from __future__ import annotations

from typing import Any

from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry
from rowcast.service.protocols.platforms import kserve_v1, mlflow
from rowcast.service.protocols.rows.bentoml_methods import answer_schema, request_schema

Item = dict[str, Any]


def path_items(registry: Registry) -> dict[str, Item]:
    """The operations of each path, by method; without refusals."""
    items = {
        f"{kserve_v1.ROOT}/{name}:predict": {"post": _predict(served, f"kserve_v1_{name}", "instances")}
        for name, served in registry.models.items()
    }
    if registry.only is not None:
        items[mlflow.INVOCATIONS] = {"post": _predict(registry.only, "invocations", "dataframe_records")}
    for path in (mlflow.PING, mlflow.HEALTH):
        ready = {"description": "The models are ready", "content": {"text/plain; charset=utf-8": {"schema": _TEXT}}}
        summary = "Whether the models are ready"
        items[path] = {"get": {"operationId": path[1:], "summary": summary, "responses": {200: ready}}}
    return items


_TEXT = {"type": "string"}


def _predict(served: Model, operation: str, member: str) -> Item:
    rows = request_schema(served.signature.public(), served.example)["rows"]
    body = {"type": "object", "required": [member], "additionalProperties": False, "properties": {member: rows}}
    predictions = {"predictions": answer_schema(served.signature)["predictions"]}
    answer = {"type": "object", "required": ["predictions"], "properties": predictions}
    return {
        "operationId": operation,
        "summary": f"Predict {served.signature.target} with the model {served.name}; other forms: docs/deployment.md",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {200: {"description": "Predictions", "content": {"application/json": {"schema": answer}}}},
    }
