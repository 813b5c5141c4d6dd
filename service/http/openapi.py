"""The OpenAPI document on ``/docs.json``: BentoML's, with the answers that callers of this service really get.

BentoML lists three codes for every method, with error schemas of its own. Here a refusal has one shape, whatever its
code, and a page that may say no says so in the same. Title, version and description are Rowcast's.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from rowcast.models.version import VERSION

_DESCRIPTION = (
    "Rows in, predictions out. [/models](models) lists the models, their columns and an example request each."
)
_SCHEMA = "Refusal"
_REFUSAL = {
    "type": "object",
    "title": _SCHEMA,
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {"type": "string", "description": "The first fault, or why the request was not answered."},
        "errors": {
            "type": "array",
            "description": "Every fault of the rows, at most 50.",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "additionalProperties": False,
                "properties": {
                    "path": {"type": "string", "example": "rows[3].distance"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
_PREDICT = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON, or does not fit the model's columns",
    HTTPStatus.REQUEST_TIMEOUT: "The request came too slowly",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body or the number of rows is beyond the limit",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not sent as plain JSON in UTF-8",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many rows are waiting",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers are beyond the limit",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The model could not answer these rows",
    HTTPStatus.SERVICE_UNAVAILABLE: "The model is still being loaded",
    HTTPStatus.GATEWAY_TIMEOUT: "The rows cannot be answered within the request's grpc-timeout, and were not run",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds until it is worth another try", "schema": {"type": "integer"}}}


def completed(spec: Any, others: Mapping[str, dict[str, Any]], root_path: str = "") -> Any:
    """BentoML's document with our name and refusals, and with routes that it does not know.

    Args:
        spec: its ``OpenAPISpecification``, made for this call.
        others: the operations of each path that is answered ahead of it, by method.
        root_path: the path under which a proxy has the service.
    """
    if root_path:
        spec.servers[:] = [{"url": root_path}]
    item_type = type(next(iter(spec.paths.values())))
    for path, operations in others.items():
        spec.paths[path] = item_type(**operations)
    spec.components["schemas"] = {
        name: schema
        for name, schema in spec.components["schemas"].items()
        if name not in {"InvalidArgument", "NotFound", "InternalServerError"}  # nobody points at them any more
        and name != "TaskStatusResponse"  # it is not valid OpenAPI 3.0, and there are no tasks here
    } | {_SCHEMA: _REFUSAL}
    for path, item in spec.paths.items():
        if item.post is not None:
            answered = {code: answer for code, answer in item.post["responses"].items() if code == HTTPStatus.OK}
            item.post["responses"] = answered | {int(code): _refused(code, words) for code, words in _PREDICT.items()}
        elif path in others:
            no = _refused(HTTPStatus.SERVICE_UNAVAILABLE, "Models are being loaded, or the service is shutting down")
            item.get["responses"] = {**item.get["responses"], 503: no}
        elif path == "/readyz":
            no = _refused(HTTPStatus.SERVICE_UNAVAILABLE, "Models are being loaded, or the service is shutting down")
            item.get.responses["503"] = no
    info = type(spec.info)(title="Rowcast", version=VERSION, description=_DESCRIPTION)
    parts = {part: getattr(spec, part) for part in ("openapi", "paths", "servers", "tags", "components")}
    return type(spec)(info=info, **parts)  # the object itself cannot be changed


def _refused(code: HTTPStatus, words: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{_SCHEMA}"}
    answer: dict[str, Any] = {"description": words, "content": {"application/json": {"schema": schema}}}
    if code == HTTPStatus.TOO_MANY_REQUESTS:
        answer["headers"] = _RETRY_AFTER
    return answer
