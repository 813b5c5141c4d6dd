"""What is hidden cannot be asked for: a rare level is answered and counted as one that nobody ever had."""

from __future__ import annotations

import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import polars as pl
import pytest

from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES
from tests.service.open_inference import raw_texts
from tests.service.rpc import Caller, calling, outputs
from tests.service.servers import NO_TLS, Server, free_port, serving
from tests.support import handmade
from tests.support.standing_out import PLANTED, RARE

METRICS_SECONDS = 0.3
"""A page of metrics is no older than that."""
UNKNOWN = ["nobody ever", "Zoë Ω", "0" * 300]
Row = dict[str, Any]
Handler = Callable[[list[Row]], list[list[float]]]
"""Rows to (prediction, lower, upper) of each."""


@pytest.fixture(scope="module")
def service(told: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Caller]]:
    port, home = free_port(), tmp_path_factory.mktemp("privacy")
    root = told.model.path.parent.parent
    with serving(root, home, grpc_port=str(port)) as server, calling(port) as caller:
        yield server, caller


def ways(server: Server, caller: Caller) -> dict[str, Handler]:
    """Every protocol that rows come by."""
    names = [column["name"] for column in server.get("/models/told").json()["signature"]["columns"]]
    number = {"income", "debt"}

    def rows_json(rows: list[Row]) -> list[list[float]]:
        return [list(answer.values()) for answer in server.predict("/models/told/predict", *rows)]

    def v2(rows: list[Row]) -> list[list[float]]:
        inputs = [
            {
                "name": name,
                "datatype": "FP64" if name in number else "BYTES",
                "shape": [len(rows), 1],
                "data": [row[name] for row in rows],
            }
            for name in names
        ]
        answer = server.post("/v2/models/told/infer", json.dumps({"inputs": inputs}).encode()).json()
        return [list(row) for row in zip(*(output["data"] for output in answer["outputs"]), strict=True)]

    def arrow(rows: list[Row]) -> list[list[float]]:
        body = io.BytesIO()
        pl.DataFrame(rows).write_ipc_stream(body)
        kind = "application/vnd.apache.arrow.stream"
        answer = server.post("/models/told/predict", body.getvalue(), kind)
        assert answer.status_code == 200, answer.text
        return [list(row) for row in pl.read_ipc_stream(answer.content).rows()]

    def grpc(rows: list[Row], raw: bool) -> list[list[float]]:
        import numpy as np

        asked = REQUEST_CLASSES["ModelInfer"](model_name="told")
        for name in names:
            values = [row[name] for row in rows]
            entry = asked.inputs.add(name=name, datatype="FP64" if name in number else "BYTES", shape=[len(rows), 1])
            if not raw:
                field = entry.contents.fp64_contents if name in number else entry.contents.bytes_contents
                field.extend(values if name in number else [value.encode() for value in values])
            elif name in number:
                asked.raw_input_contents.append(np.array(values, "<f8").tobytes())
            else:
                asked.raw_input_contents.append(raw_texts(*values))
        answer = outputs(caller.infer(asked))
        columns = [[value for (value,) in answer[name]] for name in ("prediction", "lower", "upper")]
        return [list(row) for row in zip(*columns, strict=True)]

    return {
        "rows": rows_json,
        "v2": v2,
        "arrow": arrow,
        "grpc raw": lambda rows: grpc(rows, raw=True),
        "grpc typed": lambda rows: grpc(rows, raw=False),
    }


@pytest.mark.parametrize("way", ["rows", "v2", "arrow", "grpc raw", "grpc typed"])
@pytest.mark.parametrize("together", [True, False], ids=["in one request", "alone"])
def test_a_hidden_level_is_answered_and_counted_as_one_that_nobody_had(
    service: tuple[Server, Caller], way: str, together: bool
) -> None:
    server, caller = service
    ask = ways(server, caller)[way]
    example = server.get("/models/told").json()["example"]["rows"][0]
    example = {**example, "desk": str(example["desk"])}
    hidden_in = {"agent": list(RARE.values()), "desk": ["777"]}
    unknown = [*UNKNOWN, "778"]
    before = unseen(server)
    for column, hidden in hidden_in.items():
        texts = [*hidden, *unknown, example[column]]
        rows = [{**example, column: text} for text in texts]
        answers = ask(rows) if together else [answer for row in rows for answer in ask([row])]
        *same, known = answers
        assert len({tuple(answer) for answer in same}) == 1, "bit by bit"
        assert known != same[0], "or nothing would differ at all"
    now = unseen(server)
    assert {column: now[column] - before[column] for column in hidden_in} == {
        column: len(hidden) + len(unknown) for column, hidden in hidden_in.items()
    }


def test_a_hidden_level_that_comes_as_a_number_tells_nothing_either(service: tuple[Server, Caller]) -> None:
    server, _ = service
    example = server.get("/models/told").json()["example"]["rows"][0]
    before = unseen(server)
    hidden, unknown = server.predict("/models/told/predict", *({**example, "desk": desk} for desk in (777, 778)))
    assert hidden == unknown
    assert unseen(server)["desk"] == before["desk"] + 2


def unseen(server: Server) -> Counter[str]:
    """Unknown levels that were counted, by column."""
    time.sleep(METRICS_SECONDS)
    text = server.get("/metrics").text
    found = re.findall(r'^rowcast_unseen_levels_total{column="(\w+)",model="told"} (\d+)\.0$', text, re.MULTILINE)
    return Counter({column: int(count) for column, count in found})


def test_no_page_names_what_is_hidden(service: tuple[Server, Caller]) -> None:
    server, caller = service
    pages = ["/models", "/models/told", "/docs.json", "/v2/models/told", "/v2/models/told/config", "/metrics"]
    shown = " ".join(server.get(page).text for page in pages)
    for name in ("ModelMetadata", "ModelConfig"):
        shown += str(caller.ask(name, name="told"))
    assert "north" in shown, "or this test would see nothing"
    # within a longer number it means nothing
    for value in [*RARE.values(), "777", PLANTED["born"], *(repr(v) for v in PLANTED.values()), "98765432", "76543210"]:
        assert not re.search(rf"(?<![\w.]){re.escape(value)}(?!\w)", shown), value


def test_where_an_answer_stops_changing_tells_of_no_row(service: tuple[Server, Caller]) -> None:
    """The planted values lie beyond all bins: they are answered as any value out there."""
    server, _ = service
    example = server.get("/models/told").json()["example"]["rows"][0]
    for column, planted, other in (("income", PLANTED["income"], 5e5), ("debt", PLANTED["debt"], -5e5)):
        rows = [{**example, column: value} for value in (planted, other)]
        first, second = server.predict("/models/told/predict", *rows)
        assert first == second


def test_of_a_model_published_before_extremes_and_rare_levels_are_not_shown() -> None:
    old = handmade.BINARY.model_copy(update={"ends": "extremes"}).public()
    assert [(c.minimum, c.maximum) for c in old.columns] == [(None, None)] * 5
    assert old.columns[3].levels == {"UA": 50, "AA": 30}
    new = handmade.BINARY.public()
    assert new.columns[0].maximum == 4983.0


def test_of_a_model_published_before_a_rare_level_is_counted_as_unseen(server: Server) -> None:
    def count() -> float:
        time.sleep(METRICS_SECONDS)
        text = httpx.get(server.url + "/metrics", timeout=30, verify=NO_TLS).text
        found = re.findall(r'^rowcast_unseen_levels_total{column="carrier",model="flights"} (\S+)$', text, re.MULTILINE)
        return float(found[0]) if found else 0.0

    row = {"distance": 1.0, "stops": 1, "carrier": "9E"}
    before = count()
    server.predict("/predict", row, {**row, "carrier": "never"}, {**row, "carrier": "UA"})
    assert count() == before + 2
