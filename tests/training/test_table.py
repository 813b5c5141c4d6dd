"""Tables are read exactly, or refused by row, line and column."""

from __future__ import annotations

import csv
import datetime as dt
import io

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.models.errors import TableError
from rowcast.training.data.files import delimited, rows
from rowcast.training.data.files.delimited import read_delimited
from rowcast.training.data.files.form import FileForm
from rowcast.training.data.table import Table, read_table, table_of
from tests.training.hostile_tables import ENCODING, STRUCTURE, Hostile


def read_csv(content: bytes, encoding: str = "utf-8") -> Table:
    return table_of(read_delimited(content, FileForm(encoding), ",", "my.csv"), "my.csv")


@pytest.mark.parametrize("hostile", STRUCTURE + ENCODING, ids=lambda hostile: hostile.name)
def test_a_file_that_breaks_a_rule_is_refused_by_name_and_place(hostile: Hostile, tmp_path):
    file = tmp_path / "my.csv"
    file.write_bytes(hostile.content)
    with pytest.raises(TableError) as refusal:
        read_table(file)
    for fragment in ("my.csv", *hostile.fragments):
        assert fragment in str(refusal.value)


@pytest.mark.parametrize("hostile", STRUCTURE + ENCODING, ids=lambda hostile: hostile.name)
def test_a_refusal_does_not_depend_on_where_the_check_cuts_the_file(hostile: Hostile, monkeypatch):
    def refusal() -> str:
        with pytest.raises(TableError) as raised:
            read_csv(hostile.content)
        return str(raised.value)

    whole = refusal()
    monkeypatch.setattr(rows, "CHUNK", 3 if len(hostile.content) < 1000 else 999)
    assert refusal() == whole


def test_quotes_newlines_and_separators_inside_quotes_belong_to_the_value():
    table = read_csv(b'\xef\xbb\xbfa,"b,\nc"\r\n"x\ny","he said ""so"""\r\n\'z\',","\r\n')
    assert table.names == ("a", "b,\nc")
    assert table.frame.rows() == [("x\ny", 'he said "so"'), ("'z'", ",")]
    assert [table.where(i) for i in range(2)] == ["row 1 (line 3)", "row 2 (line 5)"]


def test_every_field_is_text_and_an_empty_one_is_null_quoted_or_not():
    table = read_csv(b'a,b,c\n001,,""\n NA , ,true\n')
    assert table.frame.rows() == [("001", None, None), (" NA ", " ", "true")]
    assert table.frame.dtypes == [pl.String] * 3


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n", "\r\n\r\n"])
def test_blank_lines_at_the_end_are_no_rows(end):
    assert read_csv(b"a,b\n1,2\n3,4" + end.encode()).frame.rows() == [("1", "2"), ("3", "4")]


def test_in_a_table_of_one_column_a_blank_line_is_a_null():
    assert read_csv(b"a\n1\n\n2\n").frame.rows() == [("1",), (None,), ("2",)]
    assert read_csv(b'a\n""\n"1"\n').frame.rows() == [(None,), ("1",)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_may_end_in_any_of_the_three_line_ends(end):
    table = read_csv(f"a,b{end}1,2{end}3,4{end}".encode())
    assert table.frame.rows() == [("1", "2"), ("3", "4")]
    assert table.where(1) == "row 2 (line 3)"


def test_a_quote_inside_a_bare_field_is_itself():
    table = read_csv(b'size,b\n5" pipe,1\n"6"" pipe",2\nx "y" z,"a\nb"\nlast,3\n')
    assert table.frame["size"].to_list() == ['5" pipe', '6" pipe', 'x "y" z', "last"]
    assert table.where(3) == "row 4 (line 6)"


def test_an_encoding_that_is_named_is_read():
    rows = [("Köln", "€")]
    for encoding in ("utf-8", "UTF8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"):
        content = "a,b\nKöln,€\n".encode(encoding)
        assert read_csv(content, encoding).frame.rows() == rows
    assert read_csv("a,b\nKöln,x\n".encode("latin-1"), "latin-1").frame.rows() == [("Köln", "x")]


@pytest.mark.parametrize("encoding", ["klingon", "base64", "zlib", ""])
def test_an_encoding_that_is_no_text_encoding_is_refused(encoding):
    with pytest.raises(TableError, match="--encoding"):
        read_csv("ä,b\n1,2\n".encode(), encoding)


def test_a_wrong_encoding_that_was_named_is_refused():
    with pytest.raises(TableError, match="offset 0 holds the byte 0x61, which is not valid utf-16"):
        read_csv(b"a", "utf-16-le")
    with pytest.raises(TableError, match=r"row 1 \(line 2\), field 1, holds the byte 0xc3, which is not valid ascii"):
        read_csv("a,b\nä,2\n".encode(), "ascii")


FIELDS = st.text(st.sampled_from("ab1, \"\n\r\t;é'x"), max_size=6)


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(FIELDS, min_size=3, max_size=3), min_size=1, max_size=8), end=st.sampled_from(["\n", "\r\n"])
)
def test_whatever_the_standard_library_writes_is_read_back(rows, end):
    text = io.StringIO()
    bare_return = any("\r" in field for row in rows for field in row)  # which the writer leaves without quotes
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL if bare_return else csv.QUOTE_MINIMAL)
    writer.writerows([["a", "b", "c"], *rows])
    table = read_csv(text.getvalue().encode())
    assert table.frame.rows() == [tuple(field or None for field in row) for row in rows]
    begin = 2
    for i, row in enumerate(rows):
        assert table.lines is not None
        assert table.lines[i] == begin
        begin += 1 + sum(field.count("\n") for field in row)


@settings(deadline=None)
@given(body=st.text(st.sampled_from('a,"\n\r'), max_size=24), chunk=st.integers(1, 7))
def test_the_fast_reader_and_the_one_by_field_agree_on_any_text(body, chunk):
    content = ("p,q\n" + body).encode()

    def outcome(read):
        try:
            content = read()
        except TableError as error:
            return str(error)
        return content.frame.rows(), content.lines.tolist(), content.notes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK", chunk)
        fast = outcome(lambda: read_delimited(content, FileForm(), ",", "my.csv"))
        patch.setattr(delimited, "scan_rows", lambda *_: None)
        slow = outcome(lambda: read_delimited(content, FileForm(), ",", "my.csv"))
    assert fast == slow


def test_a_file_of_another_kind_or_none_is_refused(tmp_path):
    (tmp_path / "a.docx").write_bytes(b"PK")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError, match=r"ends in \.csv, \.txt, .*, each also with \.gz, .* behind it, got 'a\.docx'"):
        read_table(tmp_path / "a.docx")
    with pytest.raises(TableError, match=r"bad\.parquet cannot be read as Parquet"):
        read_table(tmp_path / "bad.parquet")
    with pytest.raises(TableError, match="is a folder"):
        read_table(tmp_path / "folder.csv")
    with pytest.raises(TableError, match=r"there is no file .*gone\.csv"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(TableError, match=r"there is no file .*gone\.parquet"):
        read_table(tmp_path / "gone.parquet")


def test_parquet_keeps_its_types_and_has_rows_but_no_lines(tmp_path):
    timestamp = dt.datetime(2013, 7, 1, 8, 30, tzinfo=dt.UTC)
    frame = pl.DataFrame(
        {
            "f": [1.5, float("nan")],
            "s": ["x", ""],
            "c": pl.Series(["u", None], dtype=pl.Categorical()),
            "t": pl.Series([timestamp, None]).dt.convert_time_zone("America/New_York"),
            "d": [dt.date(2013, 7, 1), None],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table.frame.rows() == [(1.5, "x", "u", timestamp.replace(tzinfo=None), dt.date(2013, 7, 1)), (None,) * 5]
    assert table.frame.dtypes == [pl.Float64, pl.String, pl.String, pl.Datetime("us"), pl.Date]
    assert table.where(1) == "row 2"


def test_a_pandas_frame_reads_as_its_values_mean():
    table = read_table(
        pd.DataFrame(
            {
                "f": [1.5, np.nan, 3.0],
                "i": pd.array([1, None, 3], dtype="Int64"),
                "b": [True, None, False],
                "n": np.array([1, 2, 3], np.int8),
                "s": ["x", None, ""],
                "o": np.array(["x", np.nan, pd.NA], dtype=object),
                "c": pd.Categorical(["u", None, "v"]),
                "ci": pd.Categorical([1, 2, None]),
                "t": pd.to_datetime(["2013-07-01 08:30", None, "1969-12-31 23:59:59.999999"], format="ISO8601"),
                "z": pd.to_datetime(["2013-07-01 08:30"] * 3).tz_localize("America/New_York"),
                "day": [dt.date(2013, 7, 1), None, dt.date(2013, 7, 2)],
                7: [0.5, 1.5, 2.5],
            },
            index=[5, 5, 9],
        )
    )
    at_half_past_eight = dt.datetime.fromisoformat("2013-07-01 08:30")
    half_past_twelve = dt.datetime.fromisoformat("2013-07-01 12:30")
    assert {name: table.frame[name].to_list() for name in table.names} == {
        "f": [1.5, None, 3.0],
        "i": [1, None, 3],
        "b": [True, None, False],
        "n": [1, 2, 3],
        "s": ["x", None, None],
        "o": ["x", None, None],
        "c": ["u", None, "v"],
        "ci": ["1", "2", None],
        "t": [at_half_past_eight, None, dt.datetime.fromisoformat("1969-12-31 23:59:59.999999")],
        "z": [half_past_twelve] * 3,
        "day": [dt.date(2013, 7, 1), None, dt.date(2013, 7, 2)],
        "7": [0.5, 1.5, 2.5],
    }
    assert table.source == "data frame"


def test_a_table_knows_which_columns_were_declared_categories():
    frame = pl.DataFrame(
        {
            "enum": pl.Series(["1", "2"], dtype=pl.Enum(["1", "2"])),
            "category": pl.Series(["a", "b"], dtype=pl.Categorical()),
            "text": ["1", "2"],
        }
    )
    assert read_table(frame).declared == {"enum", "category"}
    assert read_table(frame.to_dict()).declared == {"enum", "category"}
    assert read_table(pd.DataFrame({"c": pd.Categorical([1, 2]), "n": [1, 2]})).declared == {"c"}
    table = read_table(frame).rename({"enum": "level"})
    assert table.declared == {"level", "category"}
    assert table.take([1]).drop(["category"]).declared == {"level"}


def test_a_dict_of_columns_is_a_table():
    table = read_table({"a": [1, 2.5, None], "b": np.array(["x", "", None], dtype=object), "c": (True, None, False)})
    assert table.frame.rows() == [(1.0, "x", True), (2.5, None, None), (None, None, False)]


@pytest.mark.parametrize(
    ("source", "fragments"),
    [
        ({"a": [1, 2], "b": [1]}, ("of one length", "'a' holds 2", "'b' holds 1")),
        ({}, ("at least one column",)),
        ({"a": []}, ("no rows",)),
        ({"": [1]}, ("needs a name",)),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ("'a' comes twice",)),
        (pl.DataFrame({"a": []}), ("no rows",)),
    ],
)
def test_data_in_memory_that_is_no_table_is_refused(source, fragments):
    with pytest.raises(TableError) as refusal:
        read_table(source)
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_taken_rows_remember_where_they_stood():
    table = read_csv(b'a\n0\n1\n2\n"3\n3"\n4\n').take([4, 1])
    assert table.frame["a"].to_list() == ["4", "1"]
    assert [table.where(i) for i in range(2)] == ["row 5 (line 7)", "row 2 (line 3)"]
    again = table.take(np.array([1]))
    assert (len(again), again.where(0)) == (1, "row 2 (line 3)")
    assert read_table({"a": [1, 2, 3]}).take([2]).where(0) == "row 3"


def test_columns_are_dropped_and_renamed_by_name():
    table = read_csv(b"a,b,c\n1,2,3\n")
    assert table.drop(["b"]).names == ("a", "c")
    assert table.rename({"a": "b", "b": "a"}).names == ("b", "a", "c")
    with pytest.raises(TableError, match=r"no column 'carier', which --drop names: did you mean 'carrier'\?"):
        table.rename({"a": "carrier"}).drop(["carier"])
    with pytest.raises(TableError, match="no column 'x', which --rename names: its columns are a, b, c"):
        table.rename({"x": "y"})
    with pytest.raises(TableError, match="would give two columns the name 'c'"):
        table.rename({"a": "c"})
    with pytest.raises(TableError, match="needs a new name"):
        table.rename({"a": " "})
