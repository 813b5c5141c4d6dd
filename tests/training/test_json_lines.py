"""JSON Lines, Arrow and packed text: the same table, whatever it comes in."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest

from rowcast.models.errors import TableError
from rowcast.training.columns.infer import infer_columns, read_column
from rowcast.training.data.table import read_table
from tests.support import tables


@pytest.fixture(scope="module")
def frame():
    return tables.every_kind(50)


@pytest.fixture
def files(frame, tmp_path):
    """The same table in every form."""
    frame.write_csv(tmp_path / "t.csv")
    frame.write_csv(tmp_path / "t.tsv", separator="\t")
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ipc(tmp_path / "t.arrow")
    lines = "".join(json.dumps(row) + "\n" for row in frame.to_dicts())
    (tmp_path / "t.jsonl").write_text(lines)
    (tmp_path / "t.ndjson.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "u.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    return sorted(tmp_path.iterdir())


def test_every_form_reads_alike(files):
    assert len(files) == 7
    read = []
    for file in files:
        table = read_table(file)
        rules, _ = infer_columns(table)
        read.append([(rule.name, rule.kind, rule.nullable, read_column(table, rule).tolist()) for rule in rules])
    assert all(repr(columns) == repr(read[0]) for columns in read)


@pytest.mark.parametrize(
    ("lines", "fragments"),
    [
        ('{"a": 1}\n{"a": [2]}\n', ["line 2", "'a' holds a list"]),
        ('{"a": {"b": 1}}\n', ["line 1", "'a' holds an object"]),
        ('{"a": 1, "a": 2}\n', ["line 1", "the key 'a' comes twice"]),
        ('{"a": NaN}\n', ["line 1", "NaN is no JSON number"]),
        ('{"a": 1}\n[1, 2]\n', ["line 2", "a list"]),
        ('{"a": 1}\n{"a": 1', ["line 2"]),
        ("[" * 100_000, ["line 1"]),
        ('\n [{"a": 1}]\n', ["line 2", "got an array: name the file .json", "lines=True"]),
        ("\n\n", ["empty"]),
    ],
)
def test_a_line_that_is_no_flat_object_is_named(tmp_path, lines, fragments):
    file = tmp_path / "t.jsonl"
    file.write_text(lines)
    with pytest.raises(TableError) as refused:
        read_table(file)
    for fragment in ["t.jsonl", *fragments]:
        assert fragment in str(refused.value)


def test_values_of_several_types_are_refused_in_a_category_with_the_lines(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": 1}\n\n{"a": "x"}\n{"a": 2}\n')
    with pytest.raises(TableError, match=r"got a number in row 1 \(line 1\) and text in row 2 \(line 3\)"):
        infer_columns(read_table(file))


def test_errors_name_the_line_a_row_stands_on(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": 1}\n\n{"b": 2}\n')
    table = read_table(file)
    assert table.where(1) == "row 2 (line 3)"
    assert table.frame.to_dicts() == [{"a": 1, "b": None}, {"a": None, "b": 2}]


@pytest.mark.parametrize("content", [b"", b"plain text", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-6]])
def test_a_damaged_package_is_refused(tmp_path, content):
    file = tmp_path / "t.csv.gz"
    file.write_bytes(content)
    with pytest.raises(TableError, match=r"t\.csv\.gz"):
        read_table(file)


def test_durations_that_pandas_writes_as_iso_texts_are_seconds(tmp_path):
    frame = pd.DataFrame({"took": pd.to_timedelta([-3600, 5400, 90000], unit="s")})
    frame.to_json(tmp_path / "t.json", orient="records", date_format="iso")
    table = read_table(tmp_path / "t.json")
    rules, _ = infer_columns(table, keep=True)
    assert rules[0].kind == "duration"
    assert read_column(table, rules[0]).tolist() == [-3600.0, 5400.0, 90000.0]
