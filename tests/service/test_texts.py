"""A text by every protocol: as it is, whatever is in it."""

from __future__ import annotations

import io
import json
import struct
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rowcast.loadtest.payloads import Payloads
from rowcast.models.errors import RequestError
from rowcast.models.signature import Column, Signature
from rowcast.service.columns.named import ColumnReader
from rowcast.service.columns.rows import GraphInputs
from rowcast.service.columns.tensor_bytes import from_raw
from rowcast.service.columns.tensors import Tensor
from rowcast.service.protocols.arrow.stream import ArrowReader, Part
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.service.protocols.v2.reading import InferReader

with warnings.catch_warnings():  # a library of BentoML's was deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from rowcast.service.protocols.rows.bentoml_methods import request_schema

NOTE = Column(name="note", kind="text", nullable=True, words=3, example="the box came")
TOWN = Column(name="town", kind="category", nullable=True, levels={"Oslo": 30}, example="Oslo")
SIGNATURE = Signature(task="regression", target="y", columns=(NOTE, TOWN))


def note_of(blocks: Any) -> list[str]:
    """Texts lie behind the categories, in one block with them."""
    return list(blocks[0][1, :, 0].tolist())


def by_rows(notes: list[str | None]) -> list[str]:
    rows = [{"note": note, "town": "Oslo"} for note in notes]
    return note_of(Decoder(SIGNATURE, max_rows=100).read(json.dumps({"rows": rows}).encode()).blocks)


def by_typed_api(notes: list[str | None]) -> list[str]:
    return note_of(GraphInputs(SIGNATURE).blocks([{"note": note, "town": "Oslo"} for note in notes]))


def by_open_inference(notes: list[str | None]) -> list[str]:
    inputs = [
        {"name": name, "datatype": "BYTES", "shape": [len(notes), 1], "data": data}
        for name, data in (("note", notes), ("town", ["Oslo"] * len(notes)))
    ]
    return note_of(InferReader(SIGNATURE, 100).read(json.dumps({"inputs": inputs}).encode())[1].blocks)


def raw_of(texts: list[str | None]) -> bytes:
    encoded = [(text or "").encode() for text in texts]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def by_binary_open_inference(notes: list[str | None]) -> list[str]:
    raws = {"note": raw_of(notes), "town": raw_of(["Oslo"] * len(notes))}
    inputs = [
        {
            "name": name,
            "datatype": "BYTES",
            "shape": [len(notes), 1],
            "parameters": {"binary_data_size": len(raw)},
        }
        for name, raw in raws.items()
    ]
    head = json.dumps({"inputs": inputs}).encode()
    reader = InferReader(SIGNATURE, 100)
    bodies = [reader.read(head + b"".join(raws.values()), len(head))[1].blocks for _ in range(4)]  # forms are learned
    assert len({tuple(note_of(blocks)) for blocks in bodies}) == 1
    return note_of(bodies[0])


def by_grpc(notes: list[str | None]) -> list[str]:
    towns = from_raw("BYTES", raw_of(["Oslo"] * len(notes)), len(notes))
    tensors = [Tensor("note", from_raw("BYTES", raw_of(notes), len(notes))), Tensor("town", towns)]
    return note_of(ColumnReader(SIGNATURE, 100).read(tensors).blocks)


def by_arrow(notes: list[str | None], type_: Any = None, *, dictionary: bool = False) -> list[str]:
    array = pa.array(notes, type_ or pa.utf8())
    table = pa.table({"note": array.dictionary_encode() if dictionary else array, "town": ["Oslo"] * len(notes)})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write(table)
    stream = ArrowReader(SIGNATURE, 100, 2**20).open(out.getvalue())
    (part,) = filter(None, stream.parts(list(stream.batches())))
    if not isinstance(part, Part):
        assert isinstance(part, RequestError)
        raise part
    return note_of(part.columns.blocks)


WAYS = [by_rows, by_typed_api, by_open_inference, by_binary_open_inference, by_grpc, by_arrow]


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=12))
@example(["", " ", "\0", "a\tb\n", "é\u0301 \U0001f600", "3", "null", "NA", "2024-01-01", None])
@example(["word " * 20_000])
@settings(max_examples=40, deadline=None)
def test_a_text_comes_through_as_it_is(notes: list[str | None]) -> None:
    expected = [note or "" for note in notes]
    assert {way.__name__: way(notes) for way in WAYS} == {way.__name__: expected for way in WAYS}
    assert by_arrow(notes, pa.large_utf8()) == expected
    if max(map(len, expected)) < 1000:  # of longer ones a dictionary could hold one for many rows
        assert by_arrow(notes, dictionary=True) == expected


@pytest.mark.parametrize("value", [True, 3, 2.5, ["the box"]])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match=r"rows\[0\].note: must be a string"):
        by_rows([value])
    with pytest.raises(RequestError, match=r"columns.note: must be text, got"):
        by_arrow([value], pa.array([value]).type)
    if not isinstance(value, list):
        with pytest.raises(RequestError, match=r"inputs\[0\]: note must be text, got"):
            ColumnReader(SIGNATURE, 10).read([Tensor("note", np.array([value])), Tensor("town", [b"Oslo"])])


def test_a_new_text_is_no_level_that_training_never_saw() -> None:
    reader = ColumnReader(SIGNATURE, 10)
    columns = reader.read([Tensor("note", [b"never seen"]), Tensor("town", [b"Rome"])])
    assert dict(reader.unseen(columns)) == {"town": 1}
    only = Signature(task="regression", target="y", columns=(NOTE,))
    reader = ColumnReader(only, 10)
    assert dict(reader.unseen(reader.read([Tensor("note", [b"never seen"])]))) == {}


def test_the_schema_says_that_words_are_read() -> None:
    schema = request_schema(SIGNATURE, {"rows": [{"note": "the box came"}]})["rows"]["items"]["properties"]["note"]
    assert schema["description"] == "text, of which words are read"
    assert schema["example"] == "the box came"


def test_payloads_are_made_of_the_words_of_the_example() -> None:
    only = Signature(task="regression", target="y", columns=(NOTE.model_copy(update={"nullable": False}),))
    notes = [str(Payloads(only, seed=seed).row()["note"]) for seed in range(20)]
    assert {word for note in notes for word in note.split(" ")} >= {"the", "box", "came", "never"}
    assert len(set(notes)) > 10
