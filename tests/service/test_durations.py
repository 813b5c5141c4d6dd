"""A duration by every protocol: seconds as the graph takes them."""

from __future__ import annotations

import datetime as dt
import io
import json
import warnings
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from benchmarks.serving.tensors.tables import table_of
from rowcast.loadtest.payloads import Payloads
from rowcast.models.errors import RequestError
from rowcast.models.reading import Reading
from rowcast.models.signature import Column, Signature
from rowcast.models.texts import parse_duration
from rowcast.service.columns.named import ColumnReader
from rowcast.service.columns.tensor_bytes import datatype_of
from rowcast.service.columns.tensors import Tensor
from rowcast.service.protocols.arrow.stream import ArrowReader, Part
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.service.protocols.v2.reading import InferReader

with warnings.catch_warnings():  # a library of BentoML's was deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from rowcast.service.protocols.rows.bentoml_methods import request_schema

NAN = float("nan")
TOOK = Column(
    name="took", kind="duration", nullable=True, minimum="PT1M", maximum="PT1H", median="PT5M", example="PT5M"
)
SIGNATURE = Signature(task="regression", target="y", columns=(Column(name="far", kind="number", nullable=False), TOOK))
OLD = Column(name="took", kind="number", nullable=True, reading=Reading(duration=True), example=300.0)
"""As models of earlier versions have it."""


def signature(column: Column) -> Signature:
    return Signature(task="regression", target="y", columns=(column,))


def seconds(blocks: Any) -> list[float]:
    """Of the last column."""
    return list(blocks[0][-1, :, 0].tolist())


@pytest.mark.parametrize("column", [TOOK, OLD], ids=["duration", "number"])
@pytest.mark.parametrize("times", [1, 8])
def test_rows_hold_texts_or_seconds(column: Column, times: int) -> None:
    values = ["PT1H30M", "01:30:00", "1 days 02:00:00", "90 min", "-PT0.5S", 5400, 0.5, "7", None, "NA"]
    body = json.dumps({"rows": [{"took": value} for value in values] * times}).encode()
    columns = Decoder(signature(column), max_rows=4096).read(body)
    expected = [5400.0, 5400.0, 93600.0, 5400.0, -0.5, 5400.0, 0.5, 7.0, NAN, NAN]
    assert str(seconds(columns.blocks)) == str(expected * times)


@pytest.mark.parametrize("value", [True, "soon", "2024-01-01", [1]])
def test_what_is_no_duration_is_refused_in_rows(value: Any) -> None:
    with pytest.raises(RequestError, match=r"rows\[0\].took: must be a number of seconds, or a text such as 08:30"):
        Decoder(signature(TOOK), max_rows=10).read(json.dumps({"rows": [{"took": value}]}).encode())


@pytest.mark.parametrize("values", [np.array([90, 0.5]), np.array([b"PT1M30S", b"0.5"], object), ["00:01:30", "0.5"]])
def test_a_tensor_holds_seconds_or_texts(values: Any) -> None:
    columns = ColumnReader(signature(TOOK), 10).read([Tensor("took", values)])
    assert seconds(columns.blocks) == [90.0, 0.5]
    assert datatype_of(TOOK.dtype) == "FP64"


@pytest.mark.parametrize(
    ("datatype", "data"), [("FP64", [90, None]), ("BYTES", ["PT1M30S", None]), ("INT64", [90, None])]
)
def test_open_inference_holds_seconds_or_texts_however_often_they_come(datatype: str, data: list[Any]) -> None:
    took = {"name": "took", "datatype": datatype, "shape": [2, 1], "data": data}
    far = {"name": "far", "datatype": "FP64", "shape": [2, 1], "data": [1, 2]}
    reader = InferReader(SIGNATURE, 10)
    body = json.dumps({"inputs": [took, far]}).encode()
    found = {str(seconds(reader.read(body)[1].blocks)) for _ in range(4)}
    assert found == {"[90.0, nan]"}


def of_arrow(column: Column, array: Any) -> list[float]:
    out = io.BytesIO()
    table = pa.table({column.name: array})
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write(table)
    stream = ArrowReader(signature(column), 100, 2**20).open(out.getvalue())
    (part,) = filter(None, stream.parts(list(stream.batches())))
    if not isinstance(part, Part):
        assert isinstance(part, RequestError)
        raise part
    return seconds(part.columns.blocks)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_arrow_holds_durations_of_every_unit(unit: str) -> None:
    array = pa.array([dt.timedelta(hours=1, minutes=30), None, dt.timedelta(seconds=-2)], pa.duration(unit))
    assert str(of_arrow(TOOK, array)) == str([5400.0, NAN, -2.0])
    assert str(of_arrow(TOOK, array.dictionary_encode())) == str([5400.0, NAN, -2.0])
    assert str(of_arrow(OLD, array)) == str([5400.0, NAN, -2.0])


@pytest.mark.parametrize("array", [pa.array([90.0, None]), pa.array([90, None]), pa.array(["00:01:30", None])])
def test_arrow_holds_seconds_or_texts_too(array: Any) -> None:
    assert str(of_arrow(TOOK, array)) == str([90.0, NAN])


def test_durations_are_for_durations_alone() -> None:
    array = pa.array([dt.timedelta(hours=1)], pa.duration("us"))
    for kind, words in (
        ("number", "numbers"),
        ("timestamp", "timestamps, dates or ISO 8601 text"),
        ("category", "text"),
    ):
        column = Column(name="x", kind=kind, nullable=True)  # type: ignore[arg-type]
        with pytest.raises(RequestError, match=f"columns.x: must be {words}, got durations"):
            of_arrow(column, array)


def test_training_reads_typed_durations_to_the_same_bits() -> None:
    from rowcast.training.columns.infer import infer_columns
    from rowcast.training.columns.reading import read_column
    from rowcast.training.data.table import read_table

    rng = np.random.default_rng(0)
    for unit in ("ms", "us", "ns"):
        series = pl.Series("took", rng.integers(-(2**50), 2**50, 100)).cast(pl.Duration(unit))  # type: ignore[arg-type]
        table = read_table(pl.DataFrame([series]))
        ((rule,), _) = infer_columns(table, keep=True)
        assert read_column(table, rule).tolist() == of_arrow(TOOK, series.to_arrow())


def test_the_schema_says_text_or_number() -> None:
    schema = request_schema(signature(TOOK), {"rows": [{"took": "PT5M"}]})["rows"]["items"]["properties"]["took"]
    assert schema["oneOf"] == [{"type": "string"}, {"type": "number"}]
    assert schema["example"] == "PT5M"


def test_payloads_are_texts_between_the_ends() -> None:
    column = TOOK.model_copy(update={"nullable": False})
    payloads = Payloads(signature(column), seed=1)
    rows = [payloads.row() for _ in range(50)]
    found = [parse_duration(str(row["took"])) for row in rows]
    assert all(value is not None and 60 <= value <= 3600 for value in found)
    assert table_of(signature(column), rows)["took"][:, 0].tolist() == found
