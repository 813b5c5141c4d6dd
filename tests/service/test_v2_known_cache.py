"""Which forms of Open Inference requests are kept, and how many."""

from __future__ import annotations

import json

import pytest

from rowcast.service import cache
from rowcast.service.protocols.v2 import known_binary as v2_known_binary
from rowcast.service.protocols.v2 import known_json as v2_known_json
from rowcast.service.protocols.v2.reading import InferReader
from tests.abuse.mutations import MAX_ROWS
from tests.service.hostile_payloads import ROW
from tests.service.known_forms import (
    CARRIERS,
    GOOD,
    READER_OF,
    LongWay,
    binary_of,
    check,
    is_known,
    outcome,
    put,
    taught,
)
from tests.service.open_inference import body, request
from tests.support import handmade


def test_no_more_is_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v2_known_json, "_MAX_STARTS", 6)
    monkeypatch.setattr(v2_known_binary, "_MAX_TEXTS", 6)
    monkeypatch.setattr(cache, "_MAX_SEEN", 9)
    reader = InferReader(handmade.BINARY, 100)
    long_way = LongWay(handmade.BINARY, 100)
    for rows in (*range(1, 30), *range(1, 30)):
        for text, json_bytes in ((body(request(*[ROW] * rows)), None), binary_of(*[ROW] * rows)):
            for _ in range(2):
                assert outcome(reader, text, json_bytes) == outcome(long_way, text, json_bytes)
            assert is_known(reader, text, json_bytes)
            assert sum(map(len, reader._json._templates.values())) <= 6
            assert len(reader._binary._texts) <= 6


def test_of_templates_that_begin_alike_the_newest_are_tried() -> None:
    reader = InferReader(handmade.BINARY, MAX_ROWS)
    bodies = [body(request(ROW, parameters={"timeout": timeout})) for timeout in range(9)]
    for text in bodies:
        check(reader, text, **READER_OF)
        check(reader, text, **READER_OF)
        assert is_known(reader, text)
    assert [is_known(reader, text) for text in bodies] == [False] * 5 + [True] * 4
    for text in bodies:
        check(reader, text, **READER_OF)


def test_a_form_is_learned_when_it_comes_again_and_seldom_tried_in_vain() -> None:
    known: cache.LearningCache[str, int] = cache.LearningCache(9)
    assert [i for i in range(1, 70) if known.is_worth_learning("a")] == [2, 4, 8, 16, 32, 64]
    assert not known.is_worth_learning("b")
    assert known.is_worth_learning("b")
    known.clear()
    assert not known.is_worth_learning("a")


def test_one_row_that_spoils_the_learning_does_not_spoil_it_for_good() -> None:
    odd = put(CARRIERS, '["a{b", "UA"]')
    reader = InferReader(handmade.BINARY, MAX_ROWS)
    for text in (GOOD, odd, GOOD):
        check(reader, text, **READER_OF)
        assert not is_known(reader, GOOD)
    check(reader, GOOD, **READER_OF)
    assert is_known(reader, GOOD)
    assert not is_known(reader, odd)


def test_unusual_data_in_a_known_form_do_not_push_out_its_neighbours() -> None:
    alike = [{"priority": priority} for priority in (1, 2, 3, 4)]
    forms = [body(request(ROW, parameters=parameters)) for parameters in alike]
    reader = taught(*((form, None) for form in forms), **READER_OF)
    for _ in range(40):
        check(reader, body(request({**ROW, "distance": 1e17}, parameters=alike[0])), **READER_OF)
    assert all(is_known(reader, form) for form in forms)
    assert sum(map(len, reader._json._templates.values())) == len(forms)


def test_what_is_too_much_is_too_much_in_a_known_form_too() -> None:
    """Values are counted in large bodies only; beside its data a body may hold so many."""
    content = request(*[{**ROW, "carrier": ""}] * MAX_ROWS, parameters={f"p{n}": 1 for n in range(1200)})
    short = json.dumps(content, separators=(",", ":")).encode()
    content["inputs"][3]["data"] = ["x" * 25_000] * MAX_ROWS
    long = json.dumps(content, separators=(",", ":")).encode()
    assert len(short) < 2**16 < len(long)
    reader = taught((short, None), **READER_OF)
    assert check(reader, short, **READER_OF)[1] == MAX_ROWS
    assert check(reader, long, **READER_OF)[0] == 413
