"""The same rows by every protocol: file, frames, dict, rows JSON, Arrow, client. One answer, or all refuse."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import rowcast
from rowcast.client import ClientError
from rowcast.models.errors import RowcastError
from rowcast.training.predict import bulk_session, columns_for, open_table, predict_columns
from tests.service.servers import NO_TLS, serving

ROWS = 240
TOLERANCE = 1e-6
Row = dict[str, Any]
"""A value for each column: as a file has it where it is text, else typed."""

WORDS = ["fast", "slow", "kind", "rude", "the", "staff", "was", "very"]
CITIES = ["02139", "10001", "60601", "94105"]
ORDINARY: dict[str, Callable[[random.Random], Any]] = {
    "number": lambda rng: round(rng.uniform(-5, 5), 3),
    "whole": lambda rng: rng.randint(0, 30),
    "flag": lambda rng: rng.random() < 0.5,
    "when": lambda rng: f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:30:00Z",
    "price": lambda rng: f"${rng.randint(1000, 9999):,}.{rng.randint(10, 99)}",
    "share": lambda rng: f"{rng.randint(1, 99)}%",
    "day": lambda rng: f"{rng.randint(13, 28)}/{rng.randint(1, 12):02}/2023",
    "stamp": lambda rng: 20240000 + 100 * rng.randint(1, 12) + rng.randint(1, 28),
    "took": lambda rng: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
    "level": lambda rng: "unknown" if rng.random() < 0.1 else str(round(rng.uniform(0, 9), 1)),
    "depth": lambda rng: -999.0 if rng.random() < 0.1 else round(rng.uniform(10, 90), 1),
    "member": lambda rng: rng.choice(["TRUE", "FALSE", "TRUE", "FALSE", "NA"]),
    "zip": lambda rng: rng.choice(CITIES),
    "line": lambda rng: rng.choice([7, 12, 40]),
    "grade": lambda rng: rng.choice(["1.50", "2.00", "2.50"]),
    "mood": lambda rng: rng.choice(["good", "bad", "so so", "unknown"]),
    "note": lambda rng: f"{' '.join(rng.choices(WORDS, k=6)).capitalize()}{rng.choice(['', '.', '!'])} {rng.random()}",
}
"""What training rows hold."""
DATA = {"category": ["line", "grade"], "date": ["stamp"], "text": ["note"], "null": ["unknown", "-999"]}

ODD: dict[str, list[Any]] = {
    "number": [None, 0, 3, 1e20, -0.0, 1e-300, 2**53, 2**53 + 1, -(2**60), True, float("nan"), float("inf")],
    "whole": [None, 3.0, 3.5, -7, 1e300, 2**53 + 1, True, False],
    "flag": [None, True, 0, 1, 1.0, 2],
    "when": [None, "2024-02-30", "2024-02-29", "2024-07-01T08:30+02:00", "soon", "unknown", "0001-01-01", "NA", ""],
    "price": [None, 1234.5, 1234, "1234.5", "$1,234.50", "$ 7", "-$7.25", "1,23", "€5", "unknown", "NA", "", "?", True],
    "share": ["26 %", "26", 26, "2.5%", "%", "26%%", None, False],
    "day": ["01/02/2023", "2023-02-01", "31/02/2023", "12/31/2023", "1/2/23", None, "never", "unknown"],
    "stamp": [20240229, "20240229", 20240230, "2024-02-29", None, 1, True, "unknown", 2024.5],
    "took": ["8:30", "1:02:03.5", "30:00", 90, 30600.0, "90", "soon", None, "2 days 01:00:00", "12:75"],
    "level": ["unknown", "-999", "-999.0", -999, 3, "3.50", "x", "", None],
    "depth": [-999, -999.0, "-999", "-999.00", "unknown", 50.0, "50", None, "deep"],
    "member": ["true", "False", "NA", "unknown", True, None, "yes", "", 1],
    "zip": ["2139", "new", "", None, 2139, 2139.0, True, "unknown", "-999"],
    "line": [7, "7", 7.0, "7.0", 12, 99, "99", "x", None, True, "-999", -999, "unknown", "007"],
    "grade": [1.5, "1.5", "1.50", "1.500", 2, 2.0, "2", "2.0", 9.25, "x", None, -999, "-999.0", False],
    "mood": ["unknown", "never seen", "", None, "-999", 3, False, "Good"],
    "note": [
        "unknown",
        "Fast, slow!\n fast\tslow",
        "éclair 🚀 fast",
        " fast ",
        "",
        None,
        "-999",
        3,
        True,
        "NA",
        "x" * 9_999,
    ],
}
"""Values that people send, some right and some wrong."""


def ordinary(rng: random.Random) -> Row:
    return {name: make(rng) for name, make in ORDINARY.items()}


def target(row: Row) -> float:
    return float(row["number"]) + row["whole"] / 10 + 2 * row["flag"] + float(row["price"][1:].replace(",", "")) / 1000


# ─── the protocols ──────────────────────────────────────────────────────────────────────────────────────────────────


class Trained(NamedTuple):
    """A model, in Python and behind a service."""

    model: rowcast.Model
    session: Any
    client: rowcast.Client
    arrow_client: rowcast.Client
    http: httpx.Client
    folder: Path

    def python(self, source: Any) -> list[float]:
        manifest = self.model.stored.manifest
        table = open_table(source, manifest)
        columns = columns_for(table, manifest.signature, manifest.name)
        return list(predict_columns(self.session, columns).prediction)


def as_text(value: Any) -> str:
    """A value as a CSV file of pandas or polars has it."""
    return "" if value is None or value != value else str(value)


def by_path(trained: Trained, rows: list[Row]) -> list[float]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(rows[0])
    writer.writerows([[as_text(value) for value in row.values()] for row in rows])
    path = trained.folder / "rows.csv"
    path.write_text(text.getvalue())
    return trained.python(path)


def by_pandas(trained: Trained, rows: list[Row]) -> list[float]:
    return trained.python(pd.DataFrame(rows))


def by_polars(trained: Trained, rows: list[Row]) -> list[float]:
    return trained.python(pl.DataFrame({name: pl.Series(name, values) for name, values in lists(rows).items()}))


def by_dict(trained: Trained, rows: list[Row]) -> list[float]:
    return trained.python(lists(rows))


def by_json(trained: Trained, rows: list[Row]) -> list[float]:
    rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    try:
        answer = trained.http.post("/predict", json={"rows": rows})
    except ValueError as error:  # an infinity is no JSON
        raise RowcastError(str(error)) from None
    if answer.status_code == 400:
        raise RowcastError(answer.text)
    return [prediction["prediction"] for prediction in answer.raise_for_status().json()["predictions"]]


def by_arrow(trained: Trained, rows: list[Row]) -> list[float]:
    out = io.BytesIO()
    table = pa.table({name: pa.array(values) for name, values in lists(rows).items()})
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    headers = {"content-type": "application/vnd.apache.arrow.stream"}
    answer = trained.http.post("/predict", content=out.getvalue(), headers=headers)
    if answer.status_code == 400:
        raise RowcastError(answer.text)
    return pa.ipc.open_stream(answer.raise_for_status().content).read_all()["prediction"].to_pylist()


def by_client(trained: Trained, rows: list[Row]) -> list[float]:
    return [prediction["prediction"] for prediction in trained.client.predict(rows)]


def by_arrow_client(trained: Trained, rows: list[Row]) -> list[float]:
    return list(trained.arrow_client.predict(pd.DataFrame(rows))["prediction"])


PROTOCOLS = [by_path, by_pandas, by_polars, by_dict, by_json, by_arrow, by_client, by_arrow_client]


def lists(rows: list[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def answers(
    trained: Trained, rows: list[Row], protocols: list[Callable[..., list[float]]]
) -> dict[str, list[float] | str]:
    """The predictions by each protocol, or how it refuses."""
    found: dict[str, list[float] | str] = {}
    for protocol in protocols:
        try:
            found[protocol.__name__] = protocol(trained, rows)
        except (RowcastError, ClientError) as error:
            found[protocol.__name__] = f"refused: {error}"
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("protocols")
    rng = random.Random(0)
    rows = [ordinary(rng) for _ in range(ROWS)]
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*rows[0], "y"])
        writer.writerows([*map(as_text, row.values()), target(row)] for row in rows)
    config = {"network": {"members": 1, "layers": [8]}, "fit": {"epochs": 1}, "data": DATA}
    model = rowcast.fit(path, target="y", name="protocols", repository=folder / "repository", **config)
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder / "repository", folder / "home"))
        client = stack.enter_context(rowcast.Client(server.url, protocol="json"))
        arrow = stack.enter_context(rowcast.Client(server.url, protocol="arrow"))
        http = stack.enter_context(httpx.Client(base_url=server.url, timeout=30, verify=NO_TLS))
        yield Trained(model, bulk_session(model.stored), client, arrow, http, folder)


def alike(found: dict[str, list[float] | str]) -> str:
    """How the protocols differ; empty where they do not."""
    first = next(iter(found.values()))
    for protocol, answer in found.items():
        if isinstance(first, str) != isinstance(answer, str):
            return f"{protocol}: {answer}"
        if not isinstance(answer, str):
            expected = np.array(first)
            far = np.abs(np.array(answer) - expected) > TOLERANCE * np.maximum(1.0, np.abs(expected))
            if far.any():
                return f"{protocol}: {answer}"
    return ""


def test_what_training_found_out_of_each_column(trained: Trained) -> None:
    columns = {column.name: column for column in trained.model.stored.manifest.signature.columns}
    kinds = {name: column.levels_of or column.kind for name, column in columns.items()}
    assert kinds == {
        **dict.fromkeys(("number", "price", "share", "level", "depth"), "number"),
        "whole": "integer",
        "took": "duration",
        **dict.fromkeys(("flag", "member"), "boolean"),
        **dict.fromkeys(("when", "day", "stamp"), "timestamp"),
        **dict.fromkeys(("zip", "mood"), "category"),
        "line": "whole",
        "grade": "number",
        "note": "text",
    }


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_rows_have_one_answer_by_every_protocol(trained: Trained, seed: int) -> None:
    rng = random.Random(1000 + seed)
    rows = [ordinary(rng) for _ in range(40)]
    found = answers(trained, rows, PROTOCOLS)
    assert not isinstance(found["by_path"], str), found["by_path"]
    assert alike(found) == ""


@pytest.mark.parametrize("name", ORDINARY)
def test_an_odd_value_has_one_answer_by_every_protocol_or_none(trained: Trained, name: str) -> None:
    rng = random.Random(name)
    right: dict[type, list[Row]] = {}
    for value in ODD[name]:
        row = {**ordinary(rng), name: value}
        try:
            by_json(trained, [row])
        except RowcastError:
            # in a file every value is text: what is typed, and no level for sure, is an unknown text there
            protocols = PROTOCOLS[1:] if name in NOT_TYPED and isinstance(value, NOT_TYPED[name]) else PROTOCOLS
            found = answers(trained, [row], protocols)
            assert [protocol for protocol, answer in found.items() if not isinstance(answer, str)] == [], value
        else:
            right.setdefault(str if value is None else type(value), []).append(row)
    for rows in right.values():
        found = answers(trained, rows, PROTOCOLS)
        assert not isinstance(found["by_json"], str), found["by_json"]
        assert alike(found) == "", [row[name] for row in rows]


def test_each_column_moves_the_answer(trained: Trained) -> None:
    rng = random.Random(0)
    row = ordinary(rng)
    still = []
    for name, make in ORDINARY.items():
        found = by_dict(trained, [{**row, name: make(rng)} for _ in range(12)])
        if max(found) - min(found) < 10 * TOLERANCE:
            still.append(name)
    assert still == []


NOT_TYPED: dict[str, Any] = {
    "zip": int | float,
    "mood": int | float,
    "note": int | float,
    "line": bool,
    "grade": bool,
}
"""Types that are no levels of these columns."""
