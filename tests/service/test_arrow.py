"""Arrow streams over the front: the same rules and the same answers as rows of JSON."""

from __future__ import annotations

import datetime as dt
import io
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from rowcast.models.arrow import END, MEDIA_TYPE, head_of, writer
from rowcast.models.arrow.flatbuffer import Scalar, Tables
from rowcast.models.arrow.stream import SCHEMA
from rowcast.service.engine.registry import Registry
from rowcast.service.router import Router
from tests.abuse.test_fuzz_arrow import written
from tests.service.hostile_payloads import ROW, rows
from tests.service.servers import publish_delay, publish_flights
from tests.service.test_router import Caller, serve

ARROW = [(b"content-type", MEDIA_TYPE.encode())]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arrow") / "repository"
    publish_flights(root)
    publish_delay(root)
    return root


def stream(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_ipc_stream(out)
    return out.getvalue()


def table(n: int) -> pl.DataFrame:
    """Rows with nulls in every column, levels that training never saw, and moments on both sides of the epoch."""
    rng = np.random.default_rng(3)

    def some(values: Any) -> list[Any]:
        return [None if gone else value for value, gone in zip(values, rng.random(n) < 0.1, strict=True)]

    moments = [
        dt.datetime(1960, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(m)) for m in rng.integers(0, 2**52, n)
    ]
    return pl.DataFrame(
        {
            "distance": some(rng.uniform(-4000, 4000, n).tolist()),
            "stops": some(rng.integers(0, 4, n).tolist()),
            "night": some((rng.random(n) < 0.5).tolist()),
            "carrier": some(rng.choice(["AA", "UA", "9E", "never seen, and longer than a view", "Zürich"], n).tolist()),
            "departs": some(moments),
        }
    )


def in_json(frame: pl.DataFrame) -> bytes:
    return rows(*({**row, "departs": row["departs"] and row["departs"].isoformat()} for row in frame.to_dicts()))


async def arrow(front: Router, body: bytes, path: str = "/models/flights/predict") -> tuple[int, Any]:
    status, headers, content = await Caller("POST", path, body, headers=ARROW).answer(front)
    if status == 200:
        assert headers[b"content-type"] == MEDIA_TYPE.encode()
        return status, pl.read_ipc_stream(io.BytesIO(content))
    return status, content


def test_a_stream_is_answered_as_rows_of_json_are(repository: Path) -> None:
    frame = table(3000)

    async def scenario(front: Router, serving: Registry) -> None:
        _, _, answer = await Caller("POST", "/models/flights/predict", in_json(frame)).answer(front)
        for path in ("/models/flights/predict", "/models/flights/versions/1/predict"):
            status, got = await arrow(front, stream(frame), path)
            assert status == 200
            assert got.columns == ["label", "probability_on time", "probability_late"]
            assert got["label"].to_list() == [row["label"] for row in answer["predictions"]]
            for name in ("on time", "late"):
                expected = np.array([row["probabilities"][name] for row in answer["predictions"]])
                assert np.abs(got[f"probability_{name}"].to_numpy() - expected).max() < 1e-6
        _, _, answer = await Caller("POST", "/models/delay/predict", in_json(frame)).answer(front)
        _, got = await arrow(front, stream(frame), "/models/delay/predict")
        assert got.to_dicts() == answer["predictions"]

    serve(repository, scenario, device="cpu")


TYPES: dict[str, pl.DataFrame] = {
    "narrow numbers": table(9).cast({"distance": pl.Float32, "stops": pl.UInt8}),
    "wide whole numbers": table(9).cast({"distance": pl.Int64, "stops": pl.Float64}),
    "decimals": table(9).cast({"distance": pl.Decimal(20, 3)}),
    "categories": table(9).cast({"carrier": pl.Categorical}),
    "enums": table(9).cast({"carrier": pl.Enum(["AA", "UA", "9E", "never seen, and longer than a view", "Zürich"])}),
    "milliseconds": table(9).with_columns(pl.col("departs").dt.cast_time_unit("ms")),
    "nanoseconds without a zone": table(9).with_columns(
        pl.col("departs").dt.cast_time_unit("ns").dt.replace_time_zone(None)
    ),
    "another zone": table(9).with_columns(pl.col("departs").dt.convert_time_zone("America/New_York")),
    "dates": table(9).with_columns(pl.col("departs").dt.date()),
    "texts": table(9).with_columns(pl.col("departs").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")),
    "nulls": table(9).with_columns(pl.lit(None).alias(name) for name in ROW),
    "sliced": table(40)[7:33],
}


@pytest.mark.parametrize("frame", TYPES.values(), ids=TYPES)
def test_a_column_may_be_of_any_type_that_says_the_same(frame: pl.DataFrame, repository: Path) -> None:
    plain = frame.cast({"distance": pl.Float64, "night": pl.Boolean, "carrier": pl.String})
    if plain["departs"].dtype == pl.String:
        plain = plain.with_columns(pl.col("departs").str.to_datetime(time_zone="UTC"))
    elif plain["departs"].dtype != pl.Null:  # casting a moment with a zone to one without leaves its UTC
        plain = plain.with_columns(pl.col("departs").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))

    async def scenario(front: Router, serving: Registry) -> None:
        _, _, answer = await Caller("POST", "/models/delay/predict", in_json(plain)).answer(front)
        status, got = await arrow(front, stream(frame), "/models/delay/predict")
        assert status == 200, got
        assert got.to_dicts() == answer["predictions"]

    serve(repository, scenario, device="cpu")


GOOD = table(3).with_columns(distance=pl.lit(1.0), departs=pl.lit(0).cast(pl.Datetime("us")))
WRONG = {
    "infinity": (
        GOOD.with_columns(distance=pl.Series([1.0, np.inf, 1.0])),
        "columns.distance[1]: must be a number, or NaN where it is missing, got Infinity",
    ),
    "a fraction": (
        GOOD.with_columns(stops=pl.Series([1.0, 1.0, 1.5])),
        "columns.stops[2]: must be a whole number, or NaN where it is missing, got 1.5",
    ),
    "a large whole number": (
        GOOD.with_columns(distance=pl.Series([2**53 + 1, 0, 0])),
        f"columns.distance[0]: must be at most 2**53, got {2**53 + 1}",
    ),
    "numbers for booleans": (
        GOOD.with_columns(night=pl.Series([0, 1, 1])),
        "columns.night: must be booleans, got integers",
    ),
    "a year": (
        GOOD.with_columns(departs=pl.Series([0, 0, 10**16]).cast(pl.Datetime("ms"))),
        "columns.departs[2]: must be a timestamp of the years 0001 to 9999",
    ),
    "a date that is none": (
        GOOD.with_columns(departs=pl.Series(["2013-02-30", None, "2013-02-03"])),
        'columns.departs[0]: "2013-02-30" is not a date that exists: day is out of range for month',
    ),
    "text for a number": (GOOD.cast({"stops": pl.String}), "columns.stops: must be whole numbers, got text"),
    "a boolean for a number": (
        GOOD.with_columns(stops=True),
        "columns.stops: must be whole numbers, got booleans",
    ),
    "a number for a category": (GOOD.with_columns(carrier=1), "columns.carrier: must be text, got integers"),
    "a number for a timestamp": (
        GOOD.with_columns(departs=1),
        "columns.departs: must be timestamps, dates or ISO 8601 text, got integers",
    ),
    "a moment for a number": (
        GOOD.with_columns(stops=pl.col("departs")),
        "columns.stops: must be whole numbers, got timestamps",
    ),
    "a list": (GOOD.with_columns(stops=pl.lit([1])), "columns.stops: must be whole numbers, got lists"),
    "a column left out": (
        GOOD.drop("carrier"),
        "columns: carrier is missing: training saw it in every row, so send a value or null",
    ),
    "an unknown column": (
        GOOD.with_columns(late=True),
        'columns.late: "late" is not a column of the model, whose columns are distance, stops, night, carrier, departs',
    ),
    "no rows": (GOOD[:0], "columns: must hold at least one row, got none"),
}


@pytest.mark.parametrize(("frame", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_with_its_place(frame: pl.DataFrame, message: str, repository: Path) -> None:
    async def scenario(front: Router, serving: Registry) -> None:
        assert await arrow(front, stream(frame)) == (
            400,
            {"error": message, "errors": [dict(zip(("path", "message"), message.split(": ", 1), strict=True))]},
        )

    serve(repository, scenario, device="cpu")


def test_every_fault_of_a_long_stream_is_found_up_to_fifty(repository: Path) -> None:
    bad = pl.Series([np.inf if i % 100 == 99 else 1.0 for i in range(9000)])
    frame = pl.concat([GOOD] * 3000).with_columns(distance=bad)

    async def scenario(front: Router, serving: Registry) -> None:
        status, answer = await arrow(front, stream(frame))
        assert status == 400
        assert [fault["path"] for fault in answer["errors"]] == [f"columns.distance[{99 + 100 * i}]" for i in range(50)]

    serve(repository, scenario, device="cpu")


def test_nulls_that_pick_from_an_empty_dictionary_are_missing(repository: Path) -> None:
    frame = table(2).with_columns(pl.lit(None).alias(name) for name in ROW)
    nothing = pa.array([None, None], pa.int32())
    types = {"distance": pa.float64(), "stops": pa.int64(), "carrier": pa.string(), "departs": pa.timestamp("ms")}
    columns = {name: pa.DictionaryArray.from_arrays(nothing, pa.array([], type_)) for name, type_ in types.items()}

    async def scenario(front: Router, serving: Registry) -> None:
        _, wanted = await arrow(front, stream(frame), "/models/delay/predict")
        status, got = await arrow(front, written(columns | {"night": pa.nulls(2)}), "/models/delay/predict")
        assert status == 200, got
        assert got.equals(wanted)

    serve(repository, scenario, device="cpu")


def test_columns_of_different_types_cannot_share_a_dictionary(repository: Path) -> None:
    places, moments = pa.array([0, 0], pa.int32()), pa.array([5], pa.timestamp("us"))
    columns = {name: pa.nulls(2) for name in ("distance", "stops", "night")}
    columns["departs"] = pa.DictionaryArray.from_arrays(places, moments)
    columns["carrier"] = pa.DictionaryArray.from_arrays(places, pa.array(["AA"]))
    body = written(columns)
    one = struct.pack("<q", 1)
    head = bytes(head_of(body))
    heads = {head[:at] + bytes(8) + head[at + 8 :] for at in range(0, len(head) - 8, 4) if head[at : at + 8] == one}

    async def scenario(front: Router, serving: Registry) -> None:
        assert (await arrow(front, body))[0] == 200
        told = [await arrow(front, other + body[len(head) :]) for other in heads]
        assert {status for status, _ in told} <= {200, 400}
        assert any("columns of different types share a dictionary" in answer["error"] for _, answer in told)

    serve(repository, scenario, device="cpu")


def test_a_schema_that_says_it_has_a_body_is_refused(repository: Path) -> None:
    fields: dict[int, Any] = {1: Tables({0: name, 2: Scalar("B", 1), 3: {}} for name in ROW)}

    async def scenario(front: Router, serving: Registry) -> None:
        status, answer = await arrow(front, writer._message(SCHEMA, fields, 8) + bytes(8) + END)
        assert status == 400
        assert answer["error"].endswith("a schema has no body, got one that says it has")

    serve(repository, scenario, device="cpu")


@pytest.mark.parametrize("cut", [0, 1, 7, 100, -8, -1])
def test_a_stream_that_is_cut_off_is_refused(cut: int, repository: Path) -> None:
    whole = stream(GOOD)
    assert whole.endswith(END)

    async def scenario(front: Router, serving: Registry) -> None:
        status, answer = await arrow(front, whole[:cut])
        assert status == 400
        assert answer["error"].startswith("the body is no Arrow stream that can be read: the stream is cut off")

    serve(repository, scenario, device="cpu")


def test_decimals_are_the_nearest_doubles(repository: Path) -> None:
    texts = ["0.1", "-3.3", "123456789012345678.123", "9007199254740993.001", "-99999999999999999999.999"]
    frame = table(5).with_columns(pl.lit(None).alias(name) for name in ROW)
    frame = frame.with_columns(distance=pl.Series(list(map(Decimal, texts))))

    async def scenario(front: Router, serving: Registry) -> None:
        expected = frame.with_columns(distance=pl.Series(list(map(float, texts))))
        _, got = await arrow(front, stream(frame), "/models/delay/predict")
        _, wanted = await arrow(front, stream(expected), "/models/delay/predict")
        assert got.equals(wanted)

    serve(repository, scenario, device="cpu")


def test_compressed_buffers_and_the_file_format_are_refused(repository: Path) -> None:
    compressed, file = io.BytesIO(), io.BytesIO()
    table(300).write_ipc_stream(compressed, compression="zstd")
    GOOD.write_ipc(file)

    async def scenario(front: Router, serving: Registry) -> None:
        for body, words in (
            (compressed.getvalue(), "buffers must not be compressed: write the stream without compression"),
            (file.getvalue(), "this is Arrow's file format: write the stream format"),
        ):
            status, answer = await arrow(front, body)
            assert status == 400
            assert answer["error"] == f"the body is no Arrow stream that can be read: {words}"

    serve(repository, scenario, device="cpu")
