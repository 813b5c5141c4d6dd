"""What each method of Open Inference over gRPC answers.

Requests share runs with those of every other protocol. Messages come unparsed and go serialised: so a malformed one is
refused as one is elsewhere, and a message that does not come is not waited for.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.json_format import ParseDict

from rowcast.models.errors import RequestError
from rowcast.service.caller import Caller
from rowcast.service.engine.model import Model
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.engine.registry import LOADING, Registry
from rowcast.service.errors import QueueFull, brief
from rowcast.service.http.options import wants_times
from rowcast.service.limits.byte_budget import admit_all
from rowcast.service.limits.byte_rule import SMALL_BODY
from rowcast.service.limits.steps import Steps, at_once, in_turns
from rowcast.service.metrics.counts import NO_MODEL, REQUESTS
from rowcast.service.protocols.grpc.answer import AnswerWriter, times
from rowcast.service.protocols.grpc.incoming import Incoming
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from rowcast.service.protocols.grpc.reading import MessageReader, Readers
from rowcast.service.protocols.grpc.refusal import Context, Refusal, refusing
from rowcast.service.protocols.grpc.request import parsed
from rowcast.service.protocols.v2 import metadata as v2_metadata
from rowcast.service.protocols.v2.loading import Load, load
from rowcast.service.protocols.v2.routes import NO_UNLOAD
from rowcast.service.rollout.split import Split
from rowcast.service.rollout.trial import key_of

logger = logging.getLogger("rowcast.service")

T = TypeVar("T")

_MESSAGE_SECONDS = 8.0
_MESSAGE_BYTES_PER_SECOND = 1_000_000
"""A message may take some seconds, and as long as the largest takes at this rate: how far it has come is not known."""

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's code for each status that a refusal has over HTTP."""

Content = v2_metadata.Content


class _Model(NamedTuple):
    served: Model
    readers: Readers
    writer: AnswerWriter

    @classmethod
    def of(cls, served: Model) -> _Model:
        """What answers requests for a model."""
        readers = Readers(served.signature, served.columns.max_rows)
        return cls(served, readers, AnswerWriter(served.name, served.version, served.signature))


class _Canary(NamedTuple):
    split: Split[Model]
    model: _Model


class _Table(NamedTuple):
    """What belongs to the models that are served. A call goes on with the table that it began with."""

    models: dict[tuple[str, str], _Model]
    canaries: dict[str, _Canary]
    """By the name of the model whose requests they answer a share of."""
    reader: MessageReader
    """The heads that it knows are of messages to these models."""
    unserved_in: Callable[[str], str]
    """What is told of an alias of a version that is not served."""

    @classmethod
    def of(cls, registry: Registry, answering: Mapping[Model, _Model]) -> _Table:
        """The one of the models that are served now."""
        models: dict[tuple[str, str], _Model] = {}
        for (name, version), served in registry.versions.items():
            models[name, str(version)] = answering[served]
            if served is registry.models[name]:
                models[name, ""] = answering[served]
        models |= {(f"{name}@{alias}", ""): answering[served] for (name, alias), served in registry.aliases.items()}
        canaries = {name: _Canary(split, answering[split.new]) for name, split in registry.splits.items()}
        widest = max((len(served.signature.columns) for served in answering), default=0)
        return cls(models, canaries, MessageReader(widest, registry.settings.max_rows), registry.unserved_in)

    def find(self, name: str, version: str = "") -> _Model:
        """The model that is asked for; an empty version is the newest.

        Raises:
            RequestError: there is none.
        """
        model = self.models.get((name, version))
        if model is None:
            which = brief(name) + (f" of version {brief(version)}" if version else "")
            words = self.unserved_in(name) or f"no model {which} is served"
            raise RequestError(f"{words}; RepositoryIndex lists those that are", status=404)
        return model


class _Found:
    """The model that answers a call, once that is known."""

    def __init__(self) -> None:
        self.model: _Model | None = None
        self._canary: _Canary | None = None

    def choose(self, canary: _Canary, key: bytes | None, body: bytes) -> _Model:
        """The model of a call that names no version: the live one, which was found, or the canary."""
        self._canary = canary
        assert self.model is not None
        if canary.split.is_new(key, body):
            self.model = canary.model
        return self.model

    def count(self, status: int, seconds: float) -> None:
        """Count the call, which is over."""
        assert self.model is not None
        self.model.served.meter.request(status, seconds)
        if self._canary is not None:
            self._canary.split.count(status, seconds, new=self.model is self._canary.model)


class Methods:
    """The methods of one worker.

    Args:
        registry: the models, and whether they are ready.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._answering: dict[Model, _Model] = {}
        self._table: _Table
        self.follow()
        registry.join(self)
        max_body = int(registry.settings.max_body)
        seconds = _MESSAGE_SECONDS + max_body / _MESSAGE_BYTES_PER_SECOND
        self.incoming = Incoming(registry.budget, max_body, seconds)
        """What reads the messages of this worker's calls."""
        self._strangers = REQUESTS.labels(NO_MODEL, "4xx")

    def prepare(self, model: Model) -> None:
        """Make what answers requests for a model that may be served soon."""
        self._answering[model] = _Model.of(model)

    def follow(self) -> None:
        """Answer requests for the models that are served now, and for no others."""
        served = self._registry.versions.values()
        self._answering = {model: self._answering.get(model) or _Model.of(model) for model in served}
        self._table = _Table.of(self._registry, self._answering)

    def handler(self) -> Any:
        """What a server is told of them."""
        answers: dict[str, Callable[[Any], Content]] = {
            "ServerLive": lambda _: {"live": True},
            "ServerReady": lambda _: {"ready": self._ready},
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda _: v2_metadata.SERVER,
            "ModelMetadata": lambda request: v2_metadata.model(self._find(request.name, request.version).served),
            "ModelConfig": self._config,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelUnload": self._unload,
        }
        behaviours = {name: self._unary(name, answer) for name, answer in answers.items()}
        behaviours["RepositoryModelLoad"] = self._load
        behaviours["ModelInfer"] = self._infer
        # as streams, so that the one message is read when and as long as we want
        handlers = {name: grpc.stream_unary_rpc_method_handler(refusing(behave)) for name, behave in behaviours.items()}
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def _infer(self, context: Context) -> bytes | Refusal:
        """Answer a request for predictions."""
        started = time.perf_counter()
        found = _Found()
        metadata: tuple[tuple[str, str], ...] = ()
        try:
            answer = await self._answer(found, context, started)
        except RequestError as error:
            status, words = error.status, str(error)
            if isinstance(error, QueueFull):
                metadata = (("retry-after", str(error.retry_after_seconds)),)
        except Exception:
            logger.exception("a request over gRPC failed")
            status, words = 500, "something went wrong on the server; its log says what"
        else:
            found.count(200, time.perf_counter() - started)
            return answer
        self._registry.arrivals.settle(time.perf_counter())
        if found.model is not None:
            found.count(status, time.perf_counter() - started)
        else:
            self._strangers.inc()
        return Refusal(CODES[status], words, metadata)

    async def _read(
        self, steps: Steps[T], body: bytes, small_body: int = SMALL_BODY, admit: Callable[[], None] = admit_all
    ) -> T:
        """What is read of a message that is admitted; of a long one with others' turns in between."""
        admit()
        if len(body) <= small_body:
            return at_once(steps)
        async with self._registry.budget.decoding(len(body), admit):
            return await in_turns(steps)

    async def _message_that_comes(self, context: Context) -> bytes:
        """The message of a request that others may share a run with."""
        arrivals = self._registry.arrivals
        token = arrivals.begin()
        try:
            return await self.incoming.read(context)
        finally:
            arrivals.end(token)

    async def _answer(self, found: _Found, context: Context, since: float) -> bytes:
        """The answer to a call; the model that is asked is put into ``found``."""
        body = await self._message_that_comes(context)
        table = self._table
        incoming = await self._read(table.reader.begin(body), body)
        model = found.model = table.find(incoming.model, incoming.version)
        if table.canaries and not incoming.version and incoming.model in table.canaries:
            model = found.choose(table.canaries[incoming.model], key_in(context), body)
        served = model.served
        if not self._registry.ready:
            raise RequestError(LOADING, status=503)
        # without room the tensors need not be understood
        admit = partial(served.admit, incoming.claimed_rows, incoming.claimed_priority)
        request, columns = await self._read(table.reader.read(incoming, model.readers), body, served.small_body, admit)
        size = len(body) if len(body) <= SMALL_BODY else len(body) + columns.bytes
        del body, incoming  # while the rows wait, nothing else is kept of them
        limits = request.limits
        deadline = limits.deadline(since)
        remaining = context.time_remaining()
        if remaining is not None:
            deadline = min(time.perf_counter() + remaining, math.inf if deadline is None else deadline)
        # when the caller hangs up or the deadline passes, grpc cancels this; rows that wait are not computed then
        queued: list[QueuedRequest] = []
        predictions = await served.answer_columns(
            columns, deadline=deadline, priority=limits.priority, size=size, queued=queued.append
        )
        answer = model.writer.write(predictions, request.id, request.outputs, raw=request.raw)
        if wants_times(context.invocation_metadata() or ()):
            answer += times(queued[0])
        return answer

    def _unary(self, name: str, answer: Callable[[Any], Content]) -> Callable[[Context], Awaitable[bytes | Refusal]]:
        """A method whose answer takes no time."""

        async def behave(context: Context) -> bytes | Refusal:
            try:
                content = answer(await self._short(name, context))
            except RequestError as error:
                return Refusal(CODES[error.status], str(error))
            message: bytes = ParseDict(content, RESPONSE_CLASSES[name]()).SerializeToString()
            return message

        return behave

    async def _short(self, name: str, context: Context) -> Any:
        """The message of a method that takes short ones."""
        body = await self.incoming.read(context)
        if len(body) > SMALL_BODY:
            raise RequestError(f"a message of {name} holds at most {SMALL_BODY:,} bytes", status=413)
        return parsed(REQUEST_CLASSES[name], body)

    @property
    def _ready(self) -> bool:
        return self._registry.ready and (not self._registry.draining or self._registry.replaced())

    def _find(self, name: str, version: str = "") -> _Model:
        return self._table.find(name, version)

    def _model_ready(self, request: Any) -> Content:
        self._find(request.name, request.version)
        return {"ready": self._ready}

    def _index(self, request: Any) -> Content:
        return {"models": v2_metadata.index(self._registry, only_ready=request.ready)}

    def _config(self, request: Any) -> Content:
        return {"config": v2_metadata.config(self._find(request.name, request.version).served)}

    def _statistics(self, request: Any) -> Content:
        if request.name:
            return v2_metadata.statistics(self._find(request.name, request.version).served)
        return v2_metadata.statistics(*self._registry.versions.values())

    async def _load(self, context: Context) -> bytes | Refusal:
        try:
            request = await self._short("RepositoryModelLoad", context)
            given = {name: _value(parameter) for name, parameter in request.parameters.items()}
            asked = Load.of(request.model_name, given.get("version"), given.get("allow_signature_change", False))
            caller = Caller.of_peer(context.peer(), context.invocation_metadata() or ())
            await load(self._registry, asked, caller)
        except RequestError as error:
            return Refusal(CODES[error.status], str(error))
        return b""

    def _unload(self, request: Any) -> Content:
        self._find(request.model_name)
        raise RequestError(NO_UNLOAD)


def key_in(context: Context) -> bytes | None:
    """The key that the metadata of a call give; None for none."""
    metadata = context.invocation_metadata() or ()
    return key_of((name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in metadata)


def _value(parameter: Any) -> object:
    return getattr(parameter, parameter.WhichOneof("parameter_choice") or "", None)
