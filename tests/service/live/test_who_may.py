"""Who may change what is served where there are no keys: programs on this machine, however the request comes."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from proofs.client import post
from rowcast.models.rollout import read_rollout
from rowcast.service.http.body import Message, Receive, Scope, Send
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from rowcast.service.protocols.grpc.methods import Methods
from tests.service.live.together import LOCALHOST, Live, live
from tests.service.live.versions import one_waits
from tests.service.wire import Service

PATH = "/v2/repository/models/flights/load"
TO_2 = json.dumps({"parameters": {"version": "2"}}).encode()
ONLY_HERE = "what is served may be changed from this machine alone, where there are no API keys"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return one_waits(tmp_path)


@asynccontextmanager
async def by_hand(root: Path) -> AsyncIterator[Live]:
    async with live(root, reload="manual") as service:
        yield service
        told = [change.who for change in read_rollout(root / "flights").history[1:]]
        assert told == (["this machine"] if service.version() == 2 else [])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_program_on_this_machine_may(root: Path, address: str) -> None:
    async def scenario() -> None:
        async with by_hand(root) as service:
            assert await service.load(version=2, address=address) == (200, "")
            assert service.version() == 2

    asyncio.run(scenario())


def test_who_comes_from_elsewhere_may_not_and_is_told_what_says_so(root: Path) -> None:
    async def scenario() -> None:
        async with by_hand(root) as service:
            for given, words in (
                ({"address": "192.0.2.7"}, "it comes from 192.0.2.7"),
                ({"address": None}, "its address is not known any more"),
                ({"headers": [*LOCALHOST, (b"x-forwarded-proto", b"https")]}, "it has the header x-forwarded-proto"),
                ({"headers": [*LOCALHOST, (b"origin", b"null")]}, "it has the header origin, which browsers add"),
                ({"headers": [(b"host", b"flights.prod.svc")]}, "its Host header must be localhost or a loopback"),
            ):
                status, error = await service.load(version=2, **given)  # type: ignore[arg-type]
                assert (status, ONLY_HERE in error, words in error) == (403, True, True), error
            assert service.version() == 1

    asyncio.run(scenario())


def test_traces_hide_from_nobody_but_the_collector_who_asks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")  # nothing is sent

    async def scenario() -> None:
        async with by_hand(root) as service:
            status, error = await service.load(version=2, address="192.0.2.7")
            assert (status, "it comes from 192.0.2.7" in error, service.version()) == (403, True, 1)
            forwarded = [*LOCALHOST, (b"x-forwarded-for", b"192.0.2.7")]
            assert (await service.load(version=2, headers=forwarded))[0] == 403
            assert await service.load(version=2) == (200, "")

    asyncio.run(scenario())


def test_a_connection_that_is_reset_tells_no_address_and_changes_nothing(root: Path) -> None:
    async def scenario() -> None:
        async with by_hand(root) as service:
            statuses: list[int] = []

            async def noted(scope: Scope, receive: Receive, send: Send) -> None:
                async def tell(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        statuses.append(message["status"])
                    await send(message)

                await service.app(scope, receive, tell)

            front = Service(service.registry, noted, None)  # type: ignore[arg-type]
            with socket.create_server(("127.0.0.1", 0)) as listener:
                caller = socket.create_connection(listener.getsockname())
                caller.sendall(post(TO_2, PATH).replace(b"host: proof", b"host: localhost"))
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                caller.close()  # resets the connection, whose bytes wait
                accepted, _ = listener.accept()
            with pytest.raises(OSError, match="not connected"):
                accepted.getpeername()
            _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: front.protocol(short=False), accepted
            )
            await service.until(lambda: statuses)
            protocol.transport.abort()
            assert (statuses, service.version()) == ([403], 1)

    asyncio.run(scenario())


def test_who_may_write_to_a_unix_socket_may_whatever_name_is_asked_for(root: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with by_hand(root) as service:
            server = await asyncio.get_running_loop().create_unix_server(
                lambda: service.service.protocol(short=False), tmp_path / "socket"
            )
            async with server:
                reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
                writer.write(post(TO_2, PATH))
                assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
                writer.close()
            await service.until(lambda: service.version() == 2)

    asyncio.run(scenario())


def test_over_grpc_it_is_the_same(root: Path) -> None:
    async def scenario() -> None:
        async with by_hand(root) as service, grpc_of(service) as load:
            for name, value in (
                ("x-envoy-external-address", "192.0.2.7"),
                ("l5d-client-bin", b"\xff"),
                ("via", "1.1 a"),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match=f"it has the header {name}") as refused:
                    await load(metadata=((name, value),))
                assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
            assert service.version() == 1
            await load(metadata=())
            assert service.version() == 2

    asyncio.run(scenario())


@asynccontextmanager
async def grpc_of(service: Live) -> AsyncIterator[Any]:
    """The load call of version 2 over gRPC."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Methods(service.registry).handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    asked = REQUEST_CLASSES["RepositoryModelLoad"](model_name="flights")
    asked.parameters["version"].string_param = "2"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(
            f"/{SERVICE}/RepositoryModelLoad",
            request_serializer=REQUEST_CLASSES["RepositoryModelLoad"].SerializeToString,
            response_deserializer=RESPONSE_CLASSES["RepositoryModelLoad"].FromString,
        )
        yield lambda metadata: method(asked, metadata=metadata, timeout=60)
    await server.stop(None)
