"""The typed side of the service: what BentoML documents on ``/docs.json`` and offers its own clients.

Each model gets a method whose request and answer are described from its signature. When such a method is called (which
takes ``ROWCAST_FRONT=off``) the request goes through the same steps as in front, so that the answers are the same bytes
and a refusal is in the same words.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar

import bentoml
from pydantic import WithJsonSchema, create_model
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rowcast.models.errors import RequestError
from rowcast.models.signature import Column, Signature
from rowcast.models.texts.columns import text_reader
from rowcast.service.columns.kinds.rules import LEVELS, RULES
from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import BodyReader, ClientGone, negotiate_content_type, refusal_body
from rowcast.service.http.options import RequestOptions, options_of
from rowcast.service.http.reply import Reply
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.rollout.trial import key_of

Schema = dict[str, Any]


class RowsRequest(bentoml.IODescriptor):  # type: ignore[misc]
    """A request's body. Each model has a subclass, whose schema tells its columns."""

    max_body: ClassVar[int]
    bodies: ClassVar[BodyReader]

    rows: Any

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> bentoml.IODescriptor:
        """Take the body as it is, by the house's own rules.

        It travels as the value of ``rows``, between what the headers ask for and their key; and so does a refusal, to
        be answered by the method: raised here, BentoML would put it in words of its own, without the paths.
        """
        started = time.perf_counter()
        try:
            headers = request.scope["headers"]
            negotiate_content_type(headers, cls.max_body)
            options = options_of(headers)
            body = await cls.bodies.read(request.receive, cls.max_body, headers)
            rows: Any = options, started, body, key_of(headers)
        except RequestError as error:
            rows = error
        except ClientGone:
            raise ClientDisconnect from None
        return cls.model_construct(rows=rows)


def typed_methods(registry: Registry) -> dict[str, Any]:
    """BentoML's API methods by attribute name: one a model, and ``predict`` when there is one model only."""
    methods: dict[str, Any] = {}
    for name, served in registry.models.items():
        attribute = f"predict_{name.replace('-', '_')}"
        if attribute in methods:  # a-b and a_b
            attribute = f"predict_{name}"
        methods[attribute] = _method(registry, attribute, f"/models/{name}/predict", served)
    if registry.only is not None:
        methods["predict"] = _method(registry, "predict", "/predict", registry.only)
    return methods


class _Current:
    """What answers rows for a name, whichever version is served; made when it is asked for.

    Args:
        registry: the models.
        name: of the model.
    """

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self._name = name
        self._endpoint: RowsEndpoint | None = None
        self._canary: RowsEndpoint | None = None
        self._joined = False

    def prepare(self, model: Model) -> None:
        """Nothing is kept of a model before it is asked for."""

    def follow(self) -> None:
        """Keep nothing of a model that may have been replaced."""
        self._endpoint = self._canary = None

    async def answer(self, options: RequestOptions, came: float, body: bytes, key: bytes | None = None) -> Reply:
        """The reply to a request, by the version that is live or by a canary.

        Raises:
            RequestError: 404 where the name is served no more.
        """
        endpoint, split = self._live(), self._registry.splits.get(self._name)
        if split is None:
            return await endpoint.answer(body, None, came, options=options)
        new = split.is_new(key, body)
        if new:
            if self._canary is None or self._canary.model is not split.new:
                self._canary = RowsEndpoint(split.new)
            endpoint = self._canary
        reply = await endpoint.answer(body, None, came, options=options)
        split.count(reply.status, time.perf_counter() - came, new=new)
        return reply._replace(meter=endpoint.model.meter)

    def _live(self) -> RowsEndpoint:
        """The endpoint of the version that is live.

        Raises:
            RequestError: 404 where the name is served no more.
        """
        if not self._joined:  # most never answer: they describe what the router answers
            self._registry.join(self)
            self._joined = True
        if self._endpoint is None:
            self._endpoint = RowsEndpoint(self._registry.find(self._name))
        return self._endpoint


def _method(registry: Registry, attribute: str, route: str, served: Model) -> Any:
    current = _Current(registry, served.name)
    meter = served.meter

    async def predict(self: Any, rows: Any) -> Response:
        started = time.perf_counter()
        try:
            if isinstance(rows, RequestError):
                raise rows
            reply = await current.answer(*rows)
        except RequestError as error:
            reply = Reply(error.status, refusal_body(error))
        (reply.meter or meter).request(reply.status, time.perf_counter() - started)
        headers = {name.decode(): value.decode() for name, value in reply.headers}
        return Response(reply.body, reply.status, headers, media_type="application/json")

    predict.__name__ = attribute
    predict.__doc__ = f"Predict {served.signature.target} with the model {served.name}, version {served.version}."
    request = _described(f"{attribute}_request", RowsRequest, request_schema(served.signature, served.example))
    request.max_body, request.bodies = served.max_body, BodyReader(served.budget)
    answer = _described(f"{attribute}_answer", bentoml.IODescriptor, answer_schema(served.signature))
    return bentoml.api(route=route, input_spec=request, output_spec=answer)(predict)


def _described(name: str, base: Any, fields: dict[str, Schema]) -> Any:
    """A subclass of ``base`` whose fields are described by ``fields`` and checked elsewhere."""
    definitions: Any = {field: (Annotated[Any, WithJsonSchema(schema)], ...) for field, schema in fields.items()}
    return create_model(name, __base__=base, **definitions)


def request_schema(signature: Signature, example: Schema) -> dict[str, Schema]:
    """OpenAPI 3.0 schema of a request's fields."""
    row = {
        "type": "object",
        "additionalProperties": False,
        "required": [column.name for column in signature.columns if not column.nullable],
        "properties": {column.name: _column_schema(column) for column in signature.columns},
    }
    if not row["required"]:
        del row["required"]  # OpenAPI 3.0 knows no empty list here
    return {"rows": {"type": "array", "minItems": 1, "items": row, "example": example["rows"]}}


def answer_schema(signature: Signature) -> dict[str, Schema]:
    """OpenAPI 3.0 schema of an answer's fields."""
    number = {"type": "number"}
    if signature.task == "regression":
        properties: Schema = dict.fromkeys(signature.outputs, number)
    else:
        probabilities = {name: {"type": "number", "minimum": 0, "maximum": 1} for name in signature.classes}
        properties = {
            "label": {"type": "string", "enum": list(signature.classes)},
            "probabilities": {"type": "object", "required": list(probabilities), "properties": probabilities},
        }
    prediction = {"type": "object", "required": list(properties), "properties": properties}
    return {
        "model": {"type": "string"},
        "version": {"type": "integer"},
        "predictions": {"type": "array", "items": prediction},
    }


def _column_schema(column: Column) -> Schema:
    rule = RULES[column.kind]
    schema = {**rule.schema, "nullable": True, "description": rule.description, "example": column.example}
    reader = text_reader(column)
    if reader is not None:
        schema["description"] = reader.expected
        schema.pop("format", None)
    others = [rule.schema] if reader is not None and rule.schema["type"] != "string" else []
    if reader is not None and reader.takes_digits:
        others = [*others, {"type": "integer"}]
    if column.levels_of is not None and (level_type := LEVELS[column.levels_of].json_type) is not None:
        others = [{"type": level_type}]
    if others:
        for key in rule.schema:
            schema.pop(key, None)
        schema["oneOf"] = [{"type": "string"}, *others]
    return schema
