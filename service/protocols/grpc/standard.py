"""The standard services beside Open Inference: health, with ``List``, and server reflection, v1 and v1alpha.

The messages and what is done with them are the reference packages'. Bytes that are no such message are refused with
INVALID_ARGUMENT here: grpc itself would write a traceback into the log for each, and health may be asked without a key.
So messages come within the worker's budget as all others do, and they are short: a call that watches keeps its own for
as long as it lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from rowcast.models.errors import RequestError
from rowcast.service.protocols.grpc.incoming import Incoming
from rowcast.service.protocols.grpc.messages import POOL, SERVICE
from rowcast.service.protocols.grpc.methods import CODES
from rowcast.service.protocols.grpc.refusal import Refusal, refusing

_V1 = "grpc.reflection.v1"
REFLECTION_SERVICES = (f"{_V1}.ServerReflection", reflection.SERVICE_NAME)
"""The same messages on the wire, under two names."""

_MOST_BYTES = 4096
"""Of a message; there is nothing to it but a name."""
_MOST_WATCHES = 1024
"""Calls that may watch a worker's health at once: a quarter of all calls, for they last and need no key."""

Context = Any
"""``grpc.aio.ServicerContext``; grpc brings no types along."""


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """The reference implementation, and what it lacks: ``List``, and a bound on those who watch."""

    def __init__(self) -> None:
        super().__init__()
        self._watching: dict[asyncio.Task[Any], None] = {}
        """The calls that watch, the one that has done so for longest first."""

    async def Watch(self, request: Any, context: Context) -> None:  # noqa: N802 - the protocol's names
        """Every status there is from now on. One more caller than may watch ends the call that has for longest."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._watching) >= _MOST_WATCHES:
            longest = next(iter(self._watching))
            del self._watching[longest]
            longest.cancel()
        self._watching[task] = None
        try:
            await super().Watch(request, context)
        except asyncio.CancelledError:
            if task in self._watching:  # its caller is gone
                raise
            task.uncancel()
            words = f"more than {_MOST_WATCHES:,} calls watch, and this one has for longest: watch again"
            _refuse(Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, words), context)
        finally:
            self._watching.pop(task, None)

    async def List(self, request: Any, context: Context) -> Any:  # noqa: N802 - the protocol's names
        """Every service and its status."""
        statuses = self._server_status.items()
        listed = {name: health_pb2.HealthCheckResponse(status=status) for name, status in statuses}
        return health_pb2.HealthListResponse(statuses=listed)


def add_standard_services(server: Any, incoming: Incoming) -> Health:
    """Add health and reflection to a server that has yet to start.

    Args:
        server: to add them to.
        incoming: reads the messages.

    Returns:
        The health service, which is to be told how the worker is.
    """
    servicer = Health()
    check, listed = health_pb2.HealthCheckRequest, health_pb2.HealthListRequest
    _add(
        server,
        health.SERVICE_NAME,
        Check=grpc.stream_unary_rpc_method_handler(refusing(_one_answer(check, servicer.Check, incoming))),
        List=grpc.stream_unary_rpc_method_handler(refusing(_one_answer(listed, servicer.List, incoming))),
        Watch=grpc.stream_stream_rpc_method_handler(
            _written_answers(check, servicer.Watch, incoming), response_serializer=_serialized
        ),
    )
    reflector = reflection.aio.ReflectionServicer((SERVICE, health.SERVICE_NAME, *REFLECTION_SERVICES), POOL)
    info = grpc.stream_stream_rpc_method_handler(_reflected(reflector, incoming), response_serializer=_serialized)
    for name in REFLECTION_SERVICES:
        _add(server, name, ServerReflectionInfo=info)
    v1alpha = reflection_pb2.DESCRIPTOR.serialized_pb
    for file in (health_pb2.DESCRIPTOR.serialized_pb, v1alpha, reflection_v1(v1alpha)):
        POOL.AddSerializedFile(file)
    return servicer


def reflection_v1(v1alpha: bytes) -> bytes:
    """The file of reflection v1, made of that of v1alpha: the two differ in the names of file and package alone."""
    file = FileDescriptorProto.FromString(v1alpha)
    old, new = f".{file.package}.", f".{_V1}."
    file.name, file.package = "grpc/reflection/v1/reflection.proto", _V1
    file.ClearField("options")  # names of packages in other languages
    for message in file.message_type:
        for field in message.field:
            if field.type_name:  # numbers and texts have none, and must not
                field.type_name = field.type_name.replace(old, new)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(old, new)
        method.output_type = method.output_type.replace(old, new)
    return bytes(file.SerializeToString())


def _add(server: Any, service: str, **handlers: Any) -> None:
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


def _one_answer(message: type[Any], behave: Any, incoming: Incoming) -> Any:
    async def answer(context: Context) -> bytes | Refusal:
        request = await _read(message, context, incoming)
        return request if isinstance(request, Refusal) else _serialized(await behave(request, context))

    return answer


def _written_answers(message: type[Any], behave: Any, incoming: Incoming) -> Any:
    async def write(_: Any, context: Context) -> None:
        request = await _read(message, context, incoming)
        if isinstance(request, Refusal):
            _refuse(request, context)
        else:
            await behave(request, context)

    return write


def _reflected(reflector: Any, incoming: Incoming) -> Any:
    async def info(_: Any, context: Context) -> AsyncIterator[Any]:
        while True:
            request = await _read(reflection_pb2.ServerReflectionRequest, context, incoming, may_end=True)
            if isinstance(request, Refusal):
                _refuse(request, context)
                return
            if request is None:
                return
            async for answer in reflector.ServerReflectionInfo(_alone(request), context):
                yield answer

    return info


async def _alone(request: Any) -> AsyncIterator[Any]:
    yield request


async def _read(message: type[Any], context: Context, incoming: Incoming, *, may_end: bool = False) -> Any:
    """A call's next message, or why it is refused; None where there is none and none need be."""
    name = message.DESCRIPTOR.full_name
    try:
        body = await (incoming.next(context) if may_end else incoming.read(context))
        if body is None:
            return None
        if len(body) > _MOST_BYTES:
            raise RequestError(f"a message of {name} holds at most {_MOST_BYTES:,} bytes", status=413)
        return message.FromString(body)
    except RequestError as error:
        return Refusal(CODES[error.status], str(error))
    except DecodeError:
        words = f"the message must be {name} in protocol buffers, got bytes that are not"
        return Refusal(grpc.StatusCode.INVALID_ARGUMENT, words)


def _refuse(refusal: Refusal, context: Context) -> None:
    context.set_code(refusal.code)
    context.set_details(refusal.words)


def _serialized(message: Any) -> bytes:
    return bytes(message.SerializeToString())
