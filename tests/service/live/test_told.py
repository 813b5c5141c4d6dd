"""What a service tells of what it serves and what it does not: the V2 repository's index."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from rowcast.models.rollout import choose_version
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from rowcast.service.protocols.grpc.methods import Methods
from tests.service.live.together import Live, live
from tests.service.live.versions import publish

INDEX = "/v2/repository/index"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Version 1 is served, and version 2 waits."""
    for weight in (1.0, 2.0):
        publish(tmp_path, weight)
    choose_version(tmp_path / "flights", 1, [1, 2], "somebody", None, allow_signature_change=False)
    return tmp_path


async def index_over_grpc(service: Live, **asked: Any) -> list[tuple[str, str]]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Methods(service.registry).handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(
            f"/{SERVICE}/RepositoryIndex",
            request_serializer=REQUEST_CLASSES["RepositoryIndex"].SerializeToString,
            response_deserializer=RESPONSE_CLASSES["RepositoryIndex"].FromString,
        )
        told = await method(REQUEST_CLASSES["RepositoryIndex"](**asked), timeout=60)
    await server.stop(None)
    return [(one.version, one.state) for one in told.models]


def test_the_index_lists_the_ready_ones_alone_if_it_is_asked_to(root: Path) -> None:
    every, ready = [("1", "READY"), ("2", "UNAVAILABLE")], [("1", "READY")]

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            await service.until(lambda: service.reason(2).startswith("waits: "))
            for body, expected in (
                *(
                    (b" ", every),
                    (b"{}", every),
                    (b'{"ready": false}', every),
                    (b'{"ready": null}', every),
                    (b'{"repository_name": "a"}', every),
                ),
                (b'{"ready": true}', ready),
            ):
                answer = await service.ask(INDEX, body)
                assert [(one["version"], one["state"]) for one in json.loads(answer.body)] == expected
            assert await index_over_grpc(service) == await index_over_grpc(service, ready=False) == every
            assert await index_over_grpc(service, ready=True) == ready

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"ready": 1}', "ready must be true or false, got 1"),
        (b"[]", 'the body must be an object {"ready": true}, or empty, got something else'),
        (b"{", "the body must be JSON, or empty"),
    ],
)
def test_an_index_that_is_asked_for_in_nonsense_is_refused(root: Path, body: bytes, words: str) -> None:
    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            answer = await service.ask(INDEX, body)
            assert (answer.status, json.loads(answer.body)) == (400, {"error": words})

    asyncio.run(scenario())
