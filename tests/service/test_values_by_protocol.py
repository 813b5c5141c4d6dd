"""Lists of odd values, several types in one, by every protocol that needs no process: one answer, or one refusal.

What is compared is what the graph is given, so no network is fitted.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rowcast.client.columns import SeveralTypes
from rowcast.client.errors import ClientError
from rowcast.client.tables import given
from rowcast.models.errors import RequestError, RowcastError
from rowcast.models.signature import Column, Signature
from rowcast.service.columns.many_json_rows import MANY_ROWS
from rowcast.service.columns.named import Columns
from rowcast.service.columns.rows import GraphInputs
from rowcast.service.protocols.arrow.stream import ArrowReader
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.training.columns.declared import Declared
from rowcast.training.columns.infer import infer_columns
from rowcast.training.columns.reading import ColumnRule, read_column
from rowcast.training.data.table import Table, read_table
from rowcast.training.predict import rule_of

DAY, NOON = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC)
NOTHING: list[Any] = [
    *(
        None,
        float("nan"),
        pd.NA,
        pd.NaT,
        Decimal("NaN"),
        Decimal("sNaN"),
        pa.scalar(None),
        pa.scalar(None, pa.string()),
    ),
    *(np.float16("nan"), np.float32("nan"), np.float64("nan"), np.longdouble("nan"), np.ma.masked),
    *(np.datetime64("NaT", unit) for unit in ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns")),
    *(np.timedelta64("NaT", unit) for unit in ("D", "s", "ns")),
]
"""Every usual way to say that there is no value."""

KINDS: dict[str, tuple[list[Any], dict[str, Any], list[Any]]] = {
    "number": ([0.5, 1.25, 30], {}, [7, 2.5, -0.0, 1e20, Decimal("1.5"), np.float32(0.5), np.int8(3), True, "x", "7"]),
    "whole": ([3, 4, 7], {}, [7, 3.0, np.int64(4), 2.5, Decimal(3), True, "3", DAY]),
    "number with a marker": ([20, "unknown", 30, 2.5], {}, [20, 2.5, "unknown", "20", "?", "2.5", "x", False, NOON]),
    "whole in both": ([1, "1", 2, "4"], {}, [1, "1", 2.0, "2", 2.5, "2.5", "x", "", "NA", True]),
    "price": (["$1,234.50", "$7", "$3.25"], {}, ["$1,234.50", 7, 2.5, "2.5", "$-7", "($7)", "(7)", "1,23", True, "?"]),
    "comma": (
        ["1,5", "2.000,25", "7"],
        {},
        ["7.88", "7,88", 7.88, "1.234", 1.234, "1234.567", "(1,5)", "-0.125", "1.2.3"],
    ),
    "comma alone": (["1,5", "2,25", "7,0"], {}, ["7.88", "7,88", 7.88, "1.234", 1.234, "0.123", "12345.678", True]),
    "percent": (["5%", "7.5%", "12%"], {}, ["5%", 5, "5", "(5%)", "5 %", "%", None]),
    "clock": (["08:30", "09:15", "23:59"], {}, ["08:30", 90, "90", "7:05", dt.date(2024, 1, 1), "soon", True]),
    "duration": (
        [dt.timedelta(hours=1), dt.timedelta(minutes=5)],
        {},
        [
            dt.timedelta(days=1),
            pd.Timedelta("90min"),
            np.timedelta64(7, "s"),
            "PT1H30M",
            90,
            0.5,
            "90",
            "soon",
            True,
            NOON,
        ],
    ),
    "flag": ([True, False, None], {}, [True, False, np.bool_(1), 1, 0, "true", "yes", 2.0]),
    "flag in both": (
        [True, "false", "true", False],
        {},
        [True, "TRUE", "yes", 0, 1, 1.0, 2, "2", "", "NA", "perhaps", NOON],
    ),
    "yes and no": (
        ["yes", "no", "no"],
        {"boolean": ["x"]},
        [True, "Yes", "ja", "N", "off", 1, 0.0, 2, 0.5, "?", "maybe"],
    ),
    "0 and 1": ([0, 1, 1, None], {"boolean": ["x"]}, [0, 1, True, 1.0, "1", "0", "nein", 3, "3"]),
    "date": (
        ["2024-01-01", "2024-02-01T08:30:00Z"],
        {},
        ["2024-02-29", DAY, NOON, pd.Timestamp(NOON), "2024-02-30", 7, True],
    ),
    "day first": (
        ["31/12/2024", "13/01/2024"],
        {},
        ["01/02/2024", DAY, NOON, "2024-02-29", "12/31/2024", 20240229, 20240230],
    ),
    "seconds": (
        [1_700_000_000, 1_700_086_400],
        {"date": ["x"]},
        [1_700_000_000, 1.7e9, 1_700_000_000.5, "1700000000", NOON, 0, "x", True],
    ),
    "nanoseconds": (
        [1_700_000_000 * 10**9, 1_700_086_400 * 10**9 + 7],
        {"date": ["x"]},
        [1_700_000_000 * 10**9 + 1, str(17 * 10**17), DAY],
    ),
    "zip": (["02139", "10001", "x"], {}, ["02139", "new", "unknown", "", 2139, 2139.0, True, DAY]),
    "line": ([7, 12, 40], {"category": ["x"]}, [7, "7", 7.0, "7.0", 12, 99, "x", 7.5, True, "007", DAY]),
    "grade": (["1.50", "2.00"], {"category": ["x"]}, [1.5, "1.5", 2, "2.0", np.float32(1.5), "x", False]),
    "member": ([True, False], {"category": ["x"]}, [True, "TRUE", "false", "x", 1, 0.5]),
}
"""What training rows hold, what is declared, and what is asked."""


class Asked:
    """A column of a model that was trained, asked for values by each protocol."""

    def __init__(self, train: list[Any], declared: dict[str, Any]) -> None:
        kinds: Any = {name: kind for kind, names in declared.items() for name in names}
        table = read_table({"x": [value for value in train for _ in range(20)]})
        ((rule,), _) = infer_columns(table, declared=Declared(kinds), keep=True)
        levels = dict.fromkeys(set(read_column(table, rule).tolist()) - {""}, 20) if rule.kind == "category" else None
        self.column = Column(
            name="x",
            kind=rule.kind,
            nullable=True,
            reading=rule.signature_reading,
            levels=levels,
            whole_levels=rule.whole_levels,
            level_type=rule.level_type,
        )
        self.signature = Signature(task="regression", target="y", columns=(self.column,))
        self.rule: ColumnRule = rule_of(self.column, frozenset())
        self._decoder, self._inputs = Decoder(self.signature, max_rows=4096), GraphInputs(self.signature)
        self._arrow = ArrowReader(self.signature, 100, 2**20)

    def table(self, source: Any) -> list[Any]:
        table: Table = read_table(source)
        return list(read_column(table, self.rule).tolist())

    def json(self, rows: Any) -> list[Any]:
        """Few rows and many: one answer."""
        found = []
        for times in (1, MANY_ROWS):
            read = self._decoder.read(json.dumps({"rows": rows * times}).encode())
            blocks = read.blocks if isinstance(read, Columns) else self._inputs.blocks(read)
            found.append(blocks[0][0, : len(rows), 0].tolist())
        assert str(found[0]) == str(found[1])
        return list(found[0])

    def arrow(self, stream: bytes) -> list[Any]:
        opened = self._arrow.open(stream)
        (part,) = opened.parts(list(opened.batches()))
        if isinstance(part, RequestError):
            raise part
        return list(part.columns.blocks[0][0, :, 0].tolist())


def objects(values: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def in_json(values: list[Any]) -> list[dict[str, Any]]:
    """As a careful caller would write them in JSON."""
    return [{"x": row["x"]} for row in given([{"x": value} for value in values]).rows()]


def files(folder: Path, rows: list[dict[str, Any]]) -> list[Path]:
    (folder / "x.json").write_text(json.dumps(rows))
    (folder / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [folder / "x.json", folder / "x.jsonl"]


def protocols(asked: Asked, values: list[Any], folder: Path) -> dict[str, Callable[[], list[Any]]]:
    frame = pd.DataFrame({"x": pd.Series(objects(values), dtype=object)})
    found: dict[str, Callable[[], list[Any]]] = {
        "JSON": lambda: asked.json(in_json(values)),
        "dict": lambda: asked.table({"x": values}),
        "rows": lambda: asked.table([{"x": value} for value in values]),
        "array": lambda: asked.table({"x": objects(values)}),
        "pandas": lambda: asked.table(frame),
        "polars": lambda: asked.table(pl.DataFrame({"x": pl.Series("x", values, pl.Object)})),
        "client": lambda: asked.json(given(frame).rows()),
        "Arrow": lambda: asked.arrow(given(frame).stream()),
    }
    texts = {type(value) for value in values} == {str}
    dates = any(isinstance(value, dt.date) for value in values)
    if dates and asked.column.kind == "category":  # JSON has no dates: they are texts there
        del found["JSON"], found["client"]
    else:
        for path in files(folder, in_json(values)):
            found[path.suffix] = lambda path=path: asked.table(path)
    if texts and asked.column.reading is not None:
        frame.to_csv(folder / "x.csv", index=False)
        found["CSV"] = lambda: asked.table(folder / "x.csv")
    return found


def answers(asked: Asked, values: list[Any], folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for protocol, ask in protocols(asked, values, folder).items():
        try:
            found[protocol] = str([value if isinstance(value, str) else value + 0 for value in ask()])  # -0.0 is 0.0
        except SeveralTypes:
            continue  # which no Arrow column can hold
        except (RowcastError, ClientError, RequestError) as error:
            found[protocol] = f"refused: {error}"
    return found


def differ(found: dict[str, str]) -> dict[str, str]:
    """The protocols' answers, where they are not one; empty where all answer alike or all refuse."""
    said = {"refused" if answer.startswith("refused") else answer for answer in found.values()}
    return {} if len(said) == 1 else found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_odd_values_have_one_answer_by_every_protocol_or_none(kind: str, tmp_path: Path) -> None:
    train, declared, odd = KINDS[kind]
    asked = Asked(train, declared)
    rng = random.Random(kind)
    plain = asked.column.reading is None or not asked.column.reading.of_texts
    lists = [[value] for value in odd] + [rng.sample([*odd, *train, None], rng.randint(2, 3)) for _ in range(6)]
    for values in lists:
        texts = {type(value) for value in values if value is not None} == {str}
        if texts and plain and asked.column.kind in ("number", "integer", "boolean"):
            continue  # a frame of texts is read as a file is, and JSON refuses the text of a plain number
        assert differ(answers(asked, values, tmp_path)) == {}, values


@pytest.mark.parametrize(
    "kind", ["number", "price", "duration", "yes and no", "date", "seconds", "zip", "line", "member"]
)
def test_nothing_is_missing_by_every_protocol_whatever_its_type(kind: str, tmp_path: Path) -> None:
    train, declared, _ = KINDS[kind]
    asked = Asked(train, declared)
    lists = [[train[0], nothing] for nothing in NOTHING] if kind in ("price", "seconds") else [[*NOTHING, train[0]]]
    for values in [*lists, NOTHING]:
        found = answers(asked, values, tmp_path)
        assert len(set(found.values())) == 1, (values, found)
        assert "refused" not in str(found), (values, found)
    missing = {"category": "", "timestamp": -(2**63)}.get(asked.column.kind, float("nan"))
    assert found["dict"] == str([missing] * len(NOTHING))


def test_a_refusal_names_the_row_and_the_column_by_every_protocol(tmp_path: Path) -> None:
    asked = Asked(*KINDS["number with a marker"][:2])
    for protocol, refusal in answers(asked, [20, "unknown", "x", None], tmp_path).items():
        assert re.search(r"rows\[2\]\.x|column 'x'.*\brow 3\b|'x'.*line 3", refusal), (protocol, refusal)
    plain = Asked(*KINDS["number"][:2])
    with pytest.raises(
        RowcastError, match=r"column 'x' must be a number or null, got the text '7' in row 2: correct it"
    ):
        plain.table({"x": [1, "7"]})


def test_a_spreadsheet_with_numbers_beside_texts_is_read_alike(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for value in ("x", 20, "unknown", "30", None, 2.5):
        book.active.append([value, 1])  # a blank row ends a table
    book.active["B1"] = "other"
    book.save(tmp_path / "x.xlsx")
    asked = Asked(*KINDS["number with a marker"][:2])
    values = [20, "unknown", "30", None, 2.5]
    assert str(asked.table(tmp_path / "x.xlsx")) == str(asked.table({"x": values})) == str(asked.json(in_json(values)))


def test_what_mixes_types_and_is_a_category_is_refused_before_training_with_the_way_out() -> None:
    for values, said in (
        ([True, "yes", False] * 20, r"got a boolean in row 1 and text in row 2: .* --boolean x"),
        (["02139", 10001, "x"] * 20, r"got text in row 1 and a number in row 2: .* astype\(str\)"),
        ([None, True, 1] * 20, r"got a boolean in row 2 and a number in row 3"),
    ):
        with pytest.raises(RowcastError, match=said):
            infer_columns(read_table({"x": values}))
