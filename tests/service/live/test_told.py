"""What a service tells of what it serves and what it does not: the V2 repository's index, and the metrics."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from rowcast.service.engine.catalog import Catalog, Note
from rowcast.service.live.shown import Shown
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from rowcast.service.protocols.grpc.methods import Methods
from tests.service.live.together import Live, live
from tests.service.live.versions import one_waits

INDEX = "/v2/repository/index"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return one_waits(tmp_path)


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


def fault(model: str, reason: str) -> float | None:
    """The metric of a fault; None where there was none yet."""
    return REGISTRY.get_sample_value("rowcast_repository_fault", {"model": model, "reason": reason})


def refused(model: str, reason: str) -> float | None:
    return REGISTRY.get_sample_value("rowcast_refused_version", {"model": model, "reason": reason})


def test_a_rollout_that_is_nonsense_is_a_metric_until_it_makes_sense_again(root: Path) -> None:
    file = root / "flights/rollout.json"
    said = file.read_text()

    async def scenario() -> None:
        async with live(root) as service:
            file.write_text("nonsense")
            await service.until(lambda: service.reason(0))  # another test may have left the metric at 1
            await service.until(lambda: fault("flights", "rollout") == 1)
            assert refused("flights", "rollout") is None  # it is no version
            file.write_text(said)
            await service.until(lambda: fault("flights", "rollout") == 0)

    asyncio.run(scenario())


def test_a_fault_of_the_repository_and_a_version_that_is_refused_are_metrics_of_their_own() -> None:
    def catalog(*notes: Note) -> Catalog:
        return Catalog(1, (), notes=notes)

    shown = Shown()
    whole = Note("", 0, "UNAVAILABLE", "it cannot be read", "repository")
    folder = Note("shown", 0, "UNAVAILABLE", "it cannot be read", "repository")
    slow = [Note("shown", version, "UNAVAILABLE", "it is slow", "slow") for version in (3, 2)]
    shown.show(catalog(whole, folder, *slow, Note("shown", 4, "LOADING", "it is being tried")))
    assert (fault("", "repository"), fault("shown", "repository"), fault("shown", "slow")) == (1, 1, None)
    assert (refused("shown", "slow"), refused("shown", "repository")) == (3, None)
    shown.show(catalog(whole, Note("", 0, "UNAVAILABLE", "2 more are left out")))
    assert fault("", "") is None
    shown.show(catalog(whole))
    assert (fault("", "repository"), fault("shown", "repository"), refused("shown", "slow")) == (1, 0, 0)
    shown.show(catalog())
    assert fault("", "repository") == 0
