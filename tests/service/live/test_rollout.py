"""A version on trial beside the one that is live: who answers, what is compared, and how the trial ends."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import shutil
import time
import warnings
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest

from proofs.client import post
from rowcast.models.arrow import MEDIA_TYPE
from rowcast.models.rollout import (
    Guards,
    Rollout,
    begin_trial,
    choose_version,
    name_version,
    read_rollout,
    roll_back,
    version_called,
)
from rowcast.models.values import parse_timestamp
from rowcast.service.engine.registry import Registry
from rowcast.service.http.options import NO_OPTIONS
from rowcast.service.live.figures import read_figures, read_waits
from rowcast.service.live.rollouts import Rollouts
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from rowcast.service.protocols.grpc.methods import Methods
from rowcast.service.rollout.tally import Tally
from rowcast.service.rollout.trial import KEY, Sides
from tests.service import open_inference
from tests.service.live.together import ROWS, Live, live
from tests.service.live.versions import STOPS, late, moody_graph, nan_graph, publish, publish_graph
from tests.service.rpc import message

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # BentoML's own
    from rowcast.service.protocols.rows.bentoml_methods import typed_methods


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for weight in (1.0, 2.0):
        publish(tmp_path / "repository", weight)
    return tmp_path / "repository"


def try_out(root: Path, version: int = 2, guard: str = "", promote_after: float | None = None, **shares: float) -> None:
    """Have a version on trial beside version 1."""
    begin_trial(
        root / "flights",
        version,
        [1, 2, 3],
        "somebody",
        1,
        canary=shares.get("canary"),
        shadow=shares.get("shadow"),
        guards=Guards.of(guard) if guard else Guards(),
        promote_after=promote_after,
    )


async def answered(service: Live, body: bytes, key: str = "") -> int:
    """The version that answers a request, with a key if one is given."""
    request = post(body, "/models/flights/predict")
    if key:
        request = request.replace(b"\r\n", b"\r\n%b: %b\r\n" % (KEY, key.encode()), 1)
    (answer,) = await service.service.say(request)
    return int(json.loads(answer.body)["version"])


def test_a_canary_answers_its_share_and_the_same_keys_each_time(root: Path) -> None:
    try_out(root, canary=0.25)
    sides = Sides("flights", 2, 0.25)

    async def scenario() -> None:
        async with live(root) as service:
            assert service.version() == 1
            await service.until(lambda: service.registry.splits)
            keys = [f"customer {i}" for i in range(200)]
            told = [await answered(service, ROWS, key) for key in keys]
            assert told == [2 if sides.takes(key.encode()) else 1 for key in keys]
            bodies = [json.dumps({"rows": [{**STOPS, "distance": i}]}).encode() for i in range(200)]
            told = [await answered(service, body) for body in bodies]
            assert told == [2 if sides.takes(body) else 1 for body in bodies]
            assert [await answered(service, body) for body in bodies] == told
            choose_version(root / "flights", 2, [1, 2], "somebody", 1, allow_signature_change=False)
            await service.until(lambda: service.version() == 2)
            assert {await answered(service, body) for body in bodies} == {2}
            assert list(service.registry.versions) == [("flights", 2)]

    asyncio.run(scenario())


@asynccontextmanager
async def grpc_of(registry: Registry, method: str = "ModelInfer") -> AsyncIterator[Any]:
    """A method of a server over gRPC."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Methods(registry).handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=REQUEST_CLASSES[method].SerializeToString,
            response_deserializer=RESPONSE_CLASSES[method].FromString,
        )
    await server.stop(None)


def arrow_stream() -> bytes:
    """The row as an Arrow stream."""
    table = pa.Table.from_pylist([{**STOPS, "departs": parse_timestamp(STOPS["departs"])}])
    at = table.schema.get_field_index("departs")
    table = table.set_column(at, "departs", table["departs"].cast(pa.timestamp("us", "UTC")))
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def test_every_protocol_asks_the_canary_and_a_request_that_names_a_version_is_not_moved(root: Path) -> None:
    try_out(root, canary=1.0)
    name_version(root / "flights", "champion", 1, "somebody")
    tensors = open_inference.body(open_inference.request(STOPS))
    binary, json_bytes = open_inference.binary(STOPS)
    instances = json.dumps({"instances": [STOPS]}).encode()
    records = json.dumps({"dataframe_records": [STOPS]}).encode()

    async def scenario() -> None:
        async with live(root) as service, grpc_of(service.registry) as infer:
            await service.until(lambda: service.registry.splits and service.registry.aliases)

            async def told(path: str, body: bytes = ROWS, key: str = "version") -> Any:
                return json.loads((await service.ask(path, body)).body)[key]

            async def of_platform(path: str, body: bytes) -> float:
                return float((await told(path, body, "predictions"))[0]["probabilities"]["late"])

            assert [await told(path) for path in ("/predict", "/models/flights/predict")] == [2, 2]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                typed = typed_methods(service.registry)["predict_flights"].func
            assert json.loads((await typed(None, (NO_OPTIONS, time.perf_counter(), ROWS, None))).body)["version"] == 2
            assert await told("/v2/models/flights/infer", tensors, "model_version") == "2"
            head = b"inference-header-content-length: %d\r\n" % json_bytes
            request = post(binary, "/v2/models/flights/infer", "application/octet-stream").replace(
                b"\r\n", b"\r\n" + head, 1
            )
            assert b'"model_version":"2"' in (await service.service.say(request))[0].body
            assert (await infer(message(STOPS))).model_version == "2"
            (answer,) = await service.service.say(post(arrow_stream(), "/models/flights/predict", MEDIA_TYPE))
            assert pa.ipc.open_stream(answer.body).schema.metadata[b"rowcast.version"] == b"2"
            assert await of_platform("/v1/models/flights:predict", instances) == pytest.approx(late(2.0), abs=1e-6)
            assert await of_platform("/invocations", records) == pytest.approx(late(2.0), abs=1e-6)

            for which in ("flights/versions/1", "flights@champion"):
                assert await told(f"/models/{which}/predict") == 1
                assert await told(f"/v2/models/{which}/infer", tensors, "model_version") == "1"
                assert await of_platform(f"/v1/models/{which}:predict", instances) == pytest.approx(late(1.0), abs=1e-6)
                assert await told(f"/models/{which}", b"") == 1
            named = (
                await infer(message(STOPS, model_version="1")),
                await infer(message(STOPS, model_name="flights@champion")),
            )
            assert [one.model_version for one in named] == ["1", "1"]
            described = (await told("/readyz?verbose", b"", "models"))[0]
            assert (described["version"], described["versions"]) == (1, [1, 2])
            assert described["rollout"]["canary"] == {"version": 2, "share": 1.0}

    asyncio.run(scenario())


def test_a_shadow_is_compared_and_a_guard_that_it_breaks_ends_it(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    publish(root, -9.0)
    try_out(root, shadow=1.0)

    async def scenario() -> None:
        async with live(root) as service:
            await service.until(lambda: service.registry.trials)
            tally = service.registry.trials["flights"].tally
            for _ in range(20):
                assert await answered(service, ROWS) == 1
            await service.until(lambda: tally.rows == 20)
            assert (tally.differ, tally.dropped, tally.run_failed) == (0, 0, 0)
            assert tally.largest == pytest.approx(late(2.0) - late(1.0), abs=1e-6)
            assert tally.difference == pytest.approx(20 * tally.largest)
            await service.until(lambda: figures(root)["compared"]["rows"] == 20)
            told = json.loads((await service.ask("/readyz?verbose", b"")).body)["models"][0]["rollout"]
            assert (told["shadow"], told["measured"]) == ({"version": 2, "share": 1.0}, figures(root))

            gone = weakref.ref(service.registry.versions["flights", 2])
            gc.disable()  # it goes without, see Model
            try:
                roll_back(root / "flights", None, [1, 2, 3], "somebody", read_rollout(root / "flights"))
                await service.until(lambda: not service.registry.trials and gone() is None)
            finally:
                gc.enable()
            try_out(root, 3, "errors=1%,disagree=5%", shadow=1.0)
            await service.until(lambda: service.registry.trials)
            while service.registry.trials:
                assert await answered(service, ROWS) == 1
                await asyncio.sleep(0.01)
            await service.until(lambda: read_rollout(root / "flights").trial is None)
            assert list(service.registry.versions) == [("flights", 1)]

    asyncio.run(scenario())
    last = read_rollout(root / "flights").history[-1]
    assert (last.what, last.before, last.after, last.who.split(",")[0]) == ("rollback", 3, 1, "guard")
    assert last.why.startswith("rolled back: disagree=5% is broken: it disagrees with the live version in ")
    assert "flights:3 is rolled back, and flights:1 answers: disagree=5% is broken" in caplog.text


def test_a_canary_that_fails_goes_and_one_that_holds_is_promoted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rowcast.service")
    words = "errors=5% is judged by 20 requests or more, and 1 were seen"
    publish_graph(root, moody_graph())
    bad = json.dumps({"rows": [{**STOPS, "stops": 1e200}]}).encode()

    async def scenario() -> None:
        async with live(root) as service:
            try_out(root, 3, "errors=0.1%", canary=1.0)
            await service.until(lambda: service.registry.splits)
            statuses = []
            while service.registry.splits:
                statuses.append((await service.ask(body=bad)).status)
                statuses.append((await service.ask("/models/flights/versions/1/predict", bad)).status)
                await asyncio.sleep(0.01)
            assert set(statuses) == {200, 500}
            await service.until(lambda: read_rollout(root / "flights").trial is None)
            assert "requests failed" in read_rollout(root / "flights").history[-1].why

            try_out(root, 2, "errors=5%,disagree=5%", promote_after=0.5, canary=1.0)
            await service.until(lambda: service.registry.splits)
            assert await answered(service, ROWS) == 2
            await service.until(lambda: read_waits(root / "flights", read_rollout(root / "flights").since) == words)
            told = json.loads((await service.ask("/readyz?verbose", b"")).body)["models"][0]["rollout"]
            assert told["promotion_waits_for"] == words
            assert (service.version(), await answered(service, ROWS)) == (1, 2)
            for _ in range(18):
                assert await answered(service, ROWS) == 2
            await service.until(lambda: service.version() == 2 and not service.registry.trials)
            assert list(service.registry.versions) == [("flights", 2)]

    asyncio.run(scenario())
    said = read_rollout(root / "flights")
    assert (said.live, said.trial, said.history[-1].what) == (2, None, "live")
    assert said.history[-1].why == "promoted: its guards held for 0.5 s (20 requests answered, 20 rows compared)"
    assert f"flights:2 has held for 0.5 s, and waits: {words}" in caplog.text


def test_what_cannot_be_done_changes_nothing_and_is_told(root: Path) -> None:
    publish_graph(root, nan_graph())

    async def scenario() -> None:
        async with live(root) as service:
            try_out(root, 2, canary=0.5)
            await service.until(lambda: service.registry.splits)
            said = read_rollout(root / "flights")
            trial = service.registry.splits["flights"].trial
            for text, why in NONSENSE.items():
                (root / "flights/rollout.json").write_text(text % said.since if "%s" in text else text)
                await service.until(lambda why=why: why in service.reason(0))
                assert service.registry.splits["flights"].trial == trial
            (root / "flights/rollout.json").write_text(said.model_dump_json(by_alias=True))
            await service.until(lambda: not service.reason(0))

            roll_back(root / "flights", 2, [1, 2, 3], "somebody", said)
            await service.until(lambda: not service.registry.trials)
            try_out(root, 3, canary=0.5)
            await service.until(lambda: read_rollout(root / "flights").trial is None)
            assert (service.version(), service.registry.trials) == (1, {})
            why = read_rollout(root / "flights").history[-1].why
            assert why.startswith(
                "flights:3 cannot be served: it answers rows whose every value is missing with a number"
            )

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_load_call_without_a_version_takes_the_newest_though_it_is_on_trial(root: Path, protocol: str) -> None:
    try_out(root, canary=0.1)

    async def scenario() -> None:
        async with live(root) as service, grpc_of(service.registry, "RepositoryModelLoad") as load:
            await service.until(lambda: service.registry.splits and not service.registry.notes)
            if protocol == "http":
                assert await service.load() == (200, "")
            else:
                await load(REQUEST_CLASSES["RepositoryModelLoad"](model_name="flights"), timeout=60)
            assert (service.version(), service.registry.trials) == (2, {})
            assert await service.load() == (200, "")  # there is nothing more to be done

    asyncio.run(scenario())
    assert [(one.what, one.after) for one in read_rollout(root / "flights").history] == [("canary", 2), ("live", 2)]


def edit(root: Path, **update: Any) -> Rollout:
    """Write other fields into the file by hand; what it says then."""
    file = root / "flights/rollout.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | update))
    return read_rollout(root / "flights")


def changes(root: Path, caplog: pytest.LogCaptureFixture) -> tuple[list[Any], list[Any]]:
    """The last changes as the history has them, and as the log does: who, from, to, why."""
    lines = [line.partition(": ")[2] for line in caplog.messages if line.startswith("what is served has changed")]
    logged = [[json.loads(line)[key] for key in ("who", "from", "to", "why")] for line in lines]
    history = read_rollout(root / "flights").history
    return [[one.who.partition(",")[0], one.before, one.after, one.why] for one in history], logged


def test_a_version_that_the_file_was_edited_to_have_live_beside_a_trial_is_in_the_history(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rowcast.service")
    publish(root, 3.0)
    try_out(root, 3, canary=0.5)

    async def scenario() -> None:
        async with live(root) as service:
            await service.until(lambda: service.registry.trials)
            edit(root, live=2)
            await service.until(lambda: service.version() == 2 and service.registry.trials)
            await service.until(lambda: len(read_rollout(root / "flights").history) > 1)
            await asyncio.sleep(0.5)

    asyncio.run(scenario())
    history, logged = changes(root, caplog)
    by_hand = ["rollout.json", 1, 2, "as rollout.json says"]
    assert history == [["somebody", 1, 3, "canary 50%"], by_hand]
    assert [line[:3] for line in logged] == [["somebody", 1, 3], ["rollout.json", 1, 2], ["somebody", 2, 3]]
    said = read_rollout(root / "flights")
    assert (said.live, said.trial, said.served, version_called(root, "flights", "live")) == (2, 3, 2, 2)


def test_a_trial_that_was_edited_into_the_file_changed_and_edited_out_is_in_the_history(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rowcast.service")
    choose_version(root / "flights", 1, [1, 2], "somebody", 2, allow_signature_change=False)
    since = "2026-01-02T03:04:05Z"

    async def scenario() -> None:
        async with live(root) as service:
            edit(root, canary={"version": 2, "share": 0.5}, since=since)
            await service.until(lambda: len(read_rollout(root / "flights").history) == 2)
            edit(root, canary={"version": 2, "share": 0.25})
            await service.until(lambda: len(read_rollout(root / "flights").history) == 3)
            edit(root, canary=None, since=None)
            await service.until(lambda: len(read_rollout(root / "flights").history) == 4)
            await service.until(lambda: not service.registry.trials)
            assert service.version() == 1

    asyncio.run(scenario())
    history, logged = changes(root, caplog)
    expected = [[1, 2, "canary 50%"], [1, 2, "canary 25%"], [2, 1, "ended"]]
    assert history[1:] == logged == [["rollout.json", *one] for one in expected]


def test_after_a_bare_edit_the_history_knows_what_was_served_before(root: Path) -> None:
    home = root / "flights"
    choose_version(home, 1, [1, 2], "somebody", None, allow_signature_change=False)

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            (home / "rollout.json").write_text('{"live": 2}')
            await service.until(lambda: service.version() == 2 and read_rollout(home).history)
            (change,) = read_rollout(home).history
            assert (change.who.partition(",")[0], change.before, change.after) == ("rollout.json", 1, 2)
            assert read_rollout(home).live == 2
            roll_back(home, None, [1, 2], "somebody", read_rollout(home))
            await service.until(lambda: service.version() == 1)

    asyncio.run(scenario())


def test_a_file_that_names_a_version_that_is_not_there_ends_no_trial_here_nor_in_a_service_that_starts(
    root: Path,
) -> None:
    try_out(root, canary=0.2)
    said = read_rollout(root / "flights")

    async def goes_on(service: Live, told: str) -> None:
        await service.until(lambda: service.registry.trials)
        await service.until(lambda: service.reason(0) == f"rollout: {told}, which is not there")
        await asyncio.sleep(0.5)
        trial = service.registry.trials["flights"].trial
        assert (service.version(), trial.version, trial.canary) == (1, 2, 0.2)

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            await service.until(lambda: service.registry.trials)
            edit(root, live=77, canary=None, since=None)
            await goes_on(service, "rollout.json of flights chooses version 77")
            edit(root, live=1, canary={"version": 77, "share": 0.2}, since=said.since)
            await goes_on(service, "rollout.json of flights puts version 77 on trial")
        async with live(root, reload="manual") as service:
            await goes_on(service, "rollout.json of flights puts version 77 on trial")
            edit(root, live=1, canary={"version": 2, "share": 0.3})
            await service.until(lambda: service.registry.trials["flights"].trial.canary == 0.3)
            await service.until(lambda: not service.reason(0))

    asyncio.run(scenario())


def test_a_version_that_was_chosen_and_removed_between_two_looks_makes_no_nonsense(root: Path) -> None:
    """A look may come seconds after another, while a version is tried; a start would say the same."""
    home, rollouts = root / "flights", Rollouts(root)
    versions = [int(folder.name) for folder in home.iterdir() if folder.name.isdigit()]
    choose_version(home, 1, versions, "operator", None, allow_signature_change=False)
    rollouts.read({"flights"})
    newest = max(versions)
    choose_version(home, newest, versions, "operator", 1, allow_signature_change=False)
    shutil.rmtree(home / str(newest))
    rollouts.read({"flights"})
    assert (rollouts.faults, rollouts.said("flights").live) == ({}, newest)


def test_an_alias_of_a_version_that_is_not_there_is_told_and_what_else_was_said_is_done(root: Path) -> None:
    choose_version(root / "flights", 1, [1, 2], "somebody", 2, allow_signature_change=False)

    async def scenario() -> None:
        async with live(root) as service:
            edit(root, live=2, aliases={"champion": 77, "old": 1})
            await service.until(lambda: service.version() == 2)
            words = "rollout: rollout.json of flights calls version 77 champion, which is not there"
            await service.until(lambda: service.reason(0).startswith(words))

    asyncio.run(scenario())


NONSENSE = {
    "nonsense": "is not as `rowcast rollout` writes it",
    '{"canary": {"version": 2, "share": 7}, "live": 1, "since": "%s"}': "canary.share: Input should be less than",
    '{"canary": {"version": 1, "share": 0.5}, "live": 1, "since": "%s"}': "a version must be live or on trial",
    '{"canary": {"version": 2, "share": 0.5}}': "live and since must be given",
    '{"canary": {"version": 9, "share": 0.5}, "live": 1, "since": "%s"}': "puts version 9 on trial, which is not there",
}


def figures(root: Path) -> Any:
    """What the service has written down that it measured."""
    return read_figures(root / "flights", read_rollout(root / "flights").since) or Tally().told()
