"""Another version takes the place of one, in a worker: all that is kept of a model follows, and nothing of it stays."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from proofs.client import get, post
from rowcast.models.repository import Repository
from rowcast.service.engine.batcher import Batcher
from rowcast.service.engine.catalog import CatalogOwner, CatalogReader, Stage
from rowcast.service.engine.registry import Registry
from rowcast.service.live.follow import Follower
from rowcast.service.live.slots import verdict
from rowcast.service.process.heartbeat import Heartbeats, Pulse
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from rowcast.service.settings import Settings
from tests.service import open_inference
from tests.service.live.versions import STOPS, late, publish
from tests.service.rpc import message, outputs
from tests.service.test_grpc_memory import in_this_process
from tests.service.wire import Answer, Service, in_process
from tests.support import handmade

ROWS = json.dumps({"rows": [STOPS]}).encode()
TENSORS = open_inference.body(open_inference.request(STOPS))
ASKED = {
    "/predict": ROWS,
    "/models/flights/predict": ROWS,
    "/v2/models/flights/infer": TENSORS,
    "/v1/models/flights:predict": json.dumps({"instances": [STOPS]}).encode(),
    "/invocations": json.dumps({"dataframe_records": [STOPS]}).encode(),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two versions of one name; the first is served at first."""
    publish(tmp_path, 1.0)
    publish(tmp_path, 2.0)
    return tmp_path


@asynccontextmanager
async def first(root: Path, **settings: object) -> AsyncIterator[Service]:
    async with in_process(root, models="flights:1", **settings) as service:
        yield service


async def take(
    serving: Registry, root: Path, *versions: tuple[str, int], keep: tuple[tuple[str, int], ...] = ()
) -> None:
    """Have these versions served, and of those that are only some."""
    repository, loop = Repository(root), asyncio.get_running_loop()
    opened = [await loop.run_in_executor(None, serving.prepare, repository.open(*one)) for one in versions]
    serving.serve([*(serving.versions[one] for one in keep), *opened], "flights")


async def ask(service: Service, path: str, body: bytes = ROWS) -> Answer:
    (answer,) = await service.say(post(body, path))
    return answer


def probability(answer: Answer) -> float:
    """The probability of "late" in an answer of whatever protocol over HTTP."""
    content: Any = json.loads(answer.body)
    if "outputs" in content:
        return float(content["outputs"][1]["data"][1])
    return float(content["predictions"][0]["probabilities"]["late"])


def run_slowly(batcher: Batcher) -> None:
    """Have every run take a twentieth of a second, in the thread."""
    run = batcher._run

    def slowly(requests: list[Any]) -> Any:
        time.sleep(0.05)
        return run(requests)

    batcher._run = slowly
    batcher._short_run_seconds = 0.0


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_every_route_answers_with_the_version_that_was_taken_under_heads_that_are_known(root: Path) -> None:
    async def scenario() -> None:
        async with first(root) as service:
            for weight in (1.0, 2.0):
                for path, body in ASKED.items():
                    for _ in range(3):  # as a stranger, and under a known head in a known form
                        answer = await ask(service, path, body)
                        assert answer.status == 200, answer.body
                        assert probability(answer) == pytest.approx(late(weight), abs=1e-6), path
                if weight == 1.0:
                    await take(service.serving, root, ("flights", 2))
            by_number = [await ask(service, f"/models/flights/versions/{version}/predict") for version in (1, 2)]
            assert [answer.status for answer in by_number] == [404, 200]
            (page,) = await service.say(get("/models/flights"))
            assert (json.loads(page.body)["version"], json.loads(page.body)["versions"]) == (2, [2])

    asyncio.run(scenario())


def test_names_come_and_go_and_the_short_routes_stay_with_the_name_that_had_them(root: Path) -> None:
    publish(root, 5.0, name="new")

    async def scenario() -> None:
        async with first(root) as service:
            assert (await ask(service, "/models/new/predict")).status == 404
            await take(service.serving, root, ("new", 1), keep=(("flights", 1),))
            assert probability(await ask(service, "/models/new/predict")) == pytest.approx(late(5.0), abs=1e-6)
            assert probability(await ask(service, "/predict")) == pytest.approx(late(1.0), abs=1e-6)
            service.serving.serve([service.serving.versions["flights", 1]], "flights")
            assert (await ask(service, "/models/new/predict")).status == 404

    asyncio.run(scenario())


@pytest.mark.usefixtures("no_collector")
def test_a_version_that_is_replaced_is_gone_with_its_session_without_the_collector(root: Path) -> None:
    async def scenario() -> None:
        async with first(root) as service:
            for path, body in ASKED.items():
                await ask(service, path, body)
            await service.say(get("/models"), short=False)
            old = service.serving.versions["flights", 1]
            held = [weakref.ref(old), weakref.ref(old.batcher), weakref.ref(old.batcher._run._session)]
            del old
            await take(service.serving, root, ("flights", 2))
            assert [reference() for reference in held] == [None] * 3

    asyncio.run(scenario())


@pytest.mark.usefixtures("no_collector")
def test_requests_that_began_on_a_version_end_on_it_and_then_it_is_gone(root: Path) -> None:
    async def scenario() -> None:
        async with first(root, max_rows=5000) as service:
            held = weakref.ref(service.serving.versions["flights", 1])
            run_slowly(service.serving.versions["flights", 1].batcher)
            many = json.dumps({"rows": [STOPS] * 700}).encode()
            began = asyncio.create_task(ask(service, "/predict", many))
            body = post(ROWS)
            async with service.connect(short=False) as half:
                await half.feed([body[:-5]])
                await asyncio.sleep(0.02)
                await take(service.serving, root, ("flights", 2))
                assert probability(await ask(service, "/predict")) == pytest.approx(late(2.0), abs=1e-6)
                await half.feed([body[-5:]])
                (late_one,) = await half.answers()
            answer = await began
            assert (json.loads(answer.body)["version"], len(json.loads(answer.body)["predictions"])) == (1, 700)
            assert json.loads(late_one.body)["version"] == 1
            del began, half
            await asyncio.sleep(0.15)
            assert held() is None

    asyncio.run(scenario())


def test_a_worker_that_starts_while_a_version_is_staged_opens_it_and_says_so(root: Path) -> None:
    settings = Settings(repository=root, device="cpu", workers=1, models="flights:1")
    owner, pulse = CatalogOwner(), Pulse(Heartbeats(1).descriptor, 0)
    owner.publish([Repository(root).open("flights", 1), Repository(root).open("flights", 2)])
    first, second = owner.catalog.entries
    owner.show([first], alone="flights", stage=Stage(7, second))

    async def scenario() -> None:
        reader = CatalogReader(owner.address)
        catalog, models = reader.open()
        registry = Registry(settings, models, catalog.alone)
        await registry.start()
        assert verdict(pulse.slot, 7) is None
        await Follower(registry, reader, catalog).catch_up(pulse.slot)
        assert verdict(pulse.slot, 7) == ""
        registry.stop()

    asyncio.run(scenario())


def test_over_grpc_a_known_head_means_the_columns_of_the_version_that_answers(root: Path) -> None:
    other = handmade.BINARY.model_copy(update={"columns": handmade.COLUMNS[::-1]})
    publish(root, 7.0, other)

    async def scenario(channel: grpc.aio.Channel, serving: Registry) -> None:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=REQUEST_CLASSES["ModelInfer"].SerializeToString,
            response_deserializer=RESPONSE_CLASSES["ModelInfer"].FromString,
        )
        for version, weight in ((1, 1.0), (3, 7.0)):
            for _ in range(3):
                answer = await infer(message(STOPS), timeout=30)
                assert answer.model_version == str(version)
                assert outputs(answer)["probabilities"][0][1] == pytest.approx(late(weight), abs=1e-6)
            if version == 1:
                old = weakref.ref(serving.versions["flights", 1])
                await take(serving, root, ("flights", 3))
        await asyncio.sleep(0.2)
        gc.collect()
        assert old() is None

    in_this_process(root, scenario, models="flights:1")
