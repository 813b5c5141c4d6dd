"""Behind a path of a proxy's: requests are answered with it and without it, and the clients can be told of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import rowcast
from rowcast.service.middleware.keys import new_key
from tests.service.hostile_payloads import GOOD, ROW
from tests.service.hostile_tensors import GOOD as GOOD_TENSORS
from tests.service.servers import NO_TLS, Server, serving
from tests.service.wire import in_process

PREFIX = "/behind/a-proxy"


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("short", [True, False], ids=["short way", "long way"])
def test_rows_are_answered_with_the_prefix_and_without(one_model: Path, short: bool) -> None:
    async def scenario() -> None:
        async with in_process(one_model, root_path=PREFIX) as service:
            for path, body in (
                ("/predict", GOOD),
                ("/models/flights/versions/1/predict", GOOD),
                ("/v2/models/flights/infer", GOOD_TENSORS),
            ):
                (bare,) = await service.say(post(path, body), short=short)
                assert bare.status == 200
                assert await service.say(post(PREFIX + path, body), short=short) == [bare]
                for other in ("/behind", PREFIX + "x", PREFIX + PREFIX, "/Behind/a-proxy", PREFIX + "/"):
                    (answer,) = await service.say(post(other + path, body), short=short)
                    assert answer.status == 404, other

    asyncio.run(scenario())


def test_the_short_way_knows_the_prefix(one_model: Path) -> None:
    async def scenario() -> None:
        async with in_process(one_model, root_path=PREFIX) as service, service.connect() as wire:
            await wire.feed((post(PREFIX + "/predict", GOOD),))
            assert wire.protocol.cycle is None  # uvicorn saw nothing of it
            assert len(await wire.answers()) == 1

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def behind(one_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    home = tmp_path_factory.mktemp("behind")
    key = new_key("alice", home / "keys.txt")
    with serving(one_model, home, root_path=PREFIX, api_keys=str(home / "keys.txt"), access_log="on") as server:
        yield server, key


def test_pages_probes_and_keys_work_with_the_prefix(behind: tuple[Server, str]) -> None:
    server, key = behind
    bearer = {"authorization": f"Bearer {key}"}
    for path in ("/livez", "/readyz", "/v2/health/ready"):
        assert server.get(PREFIX + path).status_code == 200
    for path in ("/models", "/metrics", "/", "/docs.json", "/v2"):
        assert server.get(PREFIX + path).status_code == 401
        assert httpx.get(server.url + PREFIX + path, headers=bearer, verify=NO_TLS).status_code == 200
    page = server.get(PREFIX)
    assert (page.status_code, page.headers["location"]) == (307, PREFIX + "/")
    document = httpx.get(server.url + "/docs.json", headers=bearer, verify=NO_TLS).json()
    assert document["servers"] == [{"url": PREFIX}]
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith('{"time"')]
    assert "/models" in {line["path"] for line in lines}
    assert "/livez" not in {line["path"] for line in lines}


def test_the_client_takes_a_url_with_a_prefix(behind: tuple[Server, str]) -> None:
    server, key = behind
    for url in (server.url + PREFIX, server.url + PREFIX + "/", server.url):
        for protocol in ("json", "arrow"):
            with rowcast.Client(url, "flights", api_key=key, protocol=protocol) as client:
                assert client.predict([ROW])[0]["label"]
