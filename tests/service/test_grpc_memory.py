"""What calls over gRPC leave behind in a worker: nothing, however many are refused."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from rowcast.service.engine.registry import Registry
from rowcast.service.middleware.stack import Middleware
from rowcast.service.protocols.grpc.incoming import Incoming
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, SERVICE
from rowcast.service.protocols.grpc.server import GrpcServer
from rowcast.service.settings import Settings
from tests.service.rpc import good
from tests.service.servers import free_port

CALLS = 20


def in_this_process(
    repository: Path, scenario: Callable[[grpc.aio.Channel, Registry], Awaitable[None]], **settings: Any
) -> None:
    """Run a scenario against the gRPC server of a worker that lives in this process."""

    async def run() -> None:
        serving = Registry(Settings(repository=repository, device="cpu", grpc_port=free_port(), **settings))
        await serving.start()
        server = GrpcServer(serving, Middleware(serving.settings))
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{serving.settings.grpc_port}") as channel:
                await scenario(channel, serving)
        finally:
            await server.stop()
            serving.stop()

    asyncio.run(run())


def aborted() -> int:
    """How many refused calls are still held by what their refusal raised."""
    return sum(issubclass(type(held), grpc.aio.AbortError) for held in gc.get_objects())  # asks nothing of them


async def refused(channel: grpc.aio.Channel, method: str, message: bytes) -> grpc.StatusCode:
    try:
        await channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code()
    raise AssertionError("it was answered")


UNKNOWN = REQUEST_CLASSES["ModelInfer"](model_name="nobody").SerializeToString()
NO_TENSORS = REQUEST_CLASSES["ModelInfer"](model_name="flights").SerializeToString()
REFUSED = {
    "no message": ("ModelInfer", b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
    "no such model": ("ModelInfer", UNKNOWN, grpc.StatusCode.NOT_FOUND),
    "no tensors": ("ModelInfer", NO_TENSORS, grpc.StatusCode.INVALID_ARGUMENT),
    "metadata of no model": ("ModelMetadata", b"\x0a\x06nobody", grpc.StatusCode.NOT_FOUND),
    "unload": ("RepositoryModelUnload", b"\x12\x07flights", grpc.StatusCode.INVALID_ARGUMENT),
}


@pytest.mark.slow
@pytest.mark.parametrize("middleware", ["none", "access log", "keys"])
def test_nothing_of_a_refused_call_stays_though_the_cyclic_collector_never_comes(
    one_model: Path, tmp_path: Path, middleware: str
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"somebody {'0' * 64}\n")

    async def scenario(channel: grpc.aio.Channel, serving: Registry) -> None:
        for method, message, code in REFUSED.values():
            expected = grpc.StatusCode.UNAUTHENTICATED if middleware == "keys" else code
            gc.collect()
            gc.disable()
            try:
                before = aborted()
                for _ in range(CALLS):
                    assert await refused(channel, method, message) is expected
                assert aborted() - before <= 2, method  # those that grpc is just done with
            finally:
                gc.enable()

    settings: dict[str, Any] = {"keys": {"api_keys": keys}, "access log": {"access_log": True}}.get(middleware, {})
    in_this_process(one_model, scenario, **settings)


def test_a_refusal_ends_a_call_as_an_abort_does_with_no_message_and_with_its_metadata(one_model: Path) -> None:
    async def scenario(channel: grpc.aio.Channel, serving: Registry) -> None:
        call = channel.stream_stream(f"/{SERVICE}/ModelInfer")(iter([UNKNOWN]))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            raise AssertionError(await call.read())
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        assert raised.value.details().startswith('no model "nobody" is served')
        await channel.unary_unary(f"/{SERVICE}/ModelInfer")(good().SerializeToString())

    in_this_process(one_model, scenario)


LONG = b"\x0a\x80\x80\x40" + b"x" * 2**20
"""A message of health's that names a service of a megabyte."""


@pytest.mark.parametrize("service", ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"])
def test_a_name_of_a_megabyte_is_not_kept_by_a_standard_service(two_models: Path, service: str) -> None:
    async def scenario(channel: grpc.aio.Channel, _: Registry) -> None:
        methods = ("Check", "List", "Watch") if service.endswith("Health") else ("ServerReflectionInfo",)
        for method in methods:
            call = channel.stream_stream(f"/{service}/{method}")(timeout=30)
            await call.write(LONG)
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, method
            assert "holds at most 4,096 bytes" in await call.details()

    in_this_process(two_models, scenario)


def test_one_more_who_watches_ends_the_call_that_has_for_longest(
    two_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowcast.service.protocols.grpc.standard._MOST_WATCHES", 2)

    async def scenario(channel: grpc.aio.Channel, _: Registry) -> None:
        calls = []
        for _ in range(3):
            calls.append(channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=30))
            assert await calls[-1].read() == b"\x08\x01"
        assert await calls[0].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await calls[0].details() == "more than 2 calls watch, and this one has for longest: watch again"
        assert [call.done() for call in calls[1:]] == [False, False]
        calls[1].cancel()
        assert not calls[2].done()

    in_this_process(two_models, scenario)


def test_of_more_calls_than_may_wait_for_their_message_the_one_that_has_for_longest_ends(
    two_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowcast.service.protocols.grpc.incoming._MOST_WAITING", 2)

    async def scenario(channel: grpc.aio.Channel, serving: Registry) -> None:
        calls = []
        for _ in range(3):  # which send nothing
            calls.append(channel.stream_unary("/grpc.health.v1.Health/Check")(timeout=30))
            await asyncio.sleep(0.05)
        assert await calls[0].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await calls[0].details() == "more than 2 calls wait for their message, and this one has for longest"
        assert [call.done() for call in calls[1:]] == [False, False]
        for call in calls[1:]:
            call.cancel()

    in_this_process(two_models, scenario)


def test_a_standard_service_is_asked_within_the_budget(two_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Incoming, "presses", lambda _: True)

    async def scenario(channel: grpc.aio.Channel, serving: Registry) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(serving.budget.hold(serving.budget.limit).release)
            for method in ("Check", "Watch"):
                call = channel.stream_stream(f"/grpc.health.v1.Health/{method}")(timeout=30)  # which sends nothing
                assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, method
        assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10) == b"\x08\x01"

    in_this_process(two_models, scenario)
