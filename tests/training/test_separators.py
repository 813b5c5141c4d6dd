"""Delimited text as people have it: its separator, its first line and its index are found, told, or asked for."""

from __future__ import annotations

import polars as pl
import pytest

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.data.files.first_row import looks_like_row
from rowcast.training.data.files.form import FileForm
from rowcast.training.data.files.separators import sniff
from rowcast.training.data.table import read_table

NOT_TOLD: tuple[str, ...] = ()


def read(tmp_path, content, name="t.csv", **form):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(file, form=FileForm(**form))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "a,b\n1,2;3\n", NOT_TOLD),
        ("t.TXT", "a,b\n1,2;3\n", NOT_TOLD),
        ("t.tsv", "a\tb\n1\t2;3\n", NOT_TOLD),
        ("t.tab", "a\tb\n1\t2;3\n", NOT_TOLD),
        ("t.csv", "a;b\n1;2,3\n", ("fields are separated by ';'",)),
        ("t.csv", "a|b\n1|2,3\n", ("fields are separated by '|'",)),
        ("t.txt", "a\tb\n1\t2,3\n", ("fields are separated by tabs",)),
        ("t.data", "a;b\n1;2,3\n", ("fields are separated by ';'",)),
        ("t.tsv", "a,b\n1,2;3\n", ("fields are separated by ','",)),
        ("t.csv", "sep=;\r\na;b\r\n1;2,3\r\n", ("fields are separated by ';'",)),
        ("t.csv", "\ufeffSEP=|\na|b\n1|2,3\n", ("fields are separated by '|'",)),
        ("t.csv", "sep=,\na,b\n1,2;3\n", NOT_TOLD),
    ],
)
def test_what_stands_between_fields_is_found_and_told_where_it_is_not_usual(tmp_path, name, content, said):
    table = read(tmp_path, content, name)
    assert table.names == ("a", "b")
    assert table.frame.rows() in ([("1", "2;3")], [("1", "2,3")])
    assert table.notes == said


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        (b"price, net;count\n1,5;2\n2,5;3\n", ";"),  # the header holds a comma too
        (b'"a, b";"c;d"\n"1,5";"2;5"\n', ";"),  # separators in quotes do not count
        (b'id,tags\n1,a;b;c\n2,"x;y"\n', ","),
        (b"date,temp|C,hum\n1,2,3\n", ","),
        (b"a;b\n1;2\n3\n4;5\n", ";"),  # one row is short
        (b"a,b\n1,2\n3\n", ","),
        (b"x\n1\n2\n", ","),
        (b"a b\n1 2\n", ","),
        (b'size,b\n5" pipe,1\n"6"" pipe",2\n', ","),
        (b"a;b;c\n" + b"1,5;2,5;3,5\n" * 9000, ";"),
        (b"", ","),
    ],
)
def test_a_separator_is_one_that_splits_the_rows_as_it_splits_the_header(content, separator):
    assert sniff(content, ",") == separator


@pytest.mark.parametrize("said", [";", "semicolon", "SEMICOLON"])
def test_a_separator_that_is_said_is_taken(tmp_path, said):
    assert read(tmp_path, "a,b;c\n1,2;3\n", separator=said).frame.to_dicts() == [{"a,b": "1,2", "c": "3"}]
    assert read(tmp_path, "a^b\n1^2\n", separator="^").frame.to_dicts() == [{"a": "1", "b": "2"}]
    assert read(tmp_path, "a b\n1 2\n", separator="space").frame.to_dicts() == [{"a": "1", "b": "2"}]
    assert read(tmp_path, "a\tb\n1\t2\n", separator="\\t").frame.to_dicts() == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("said", ["", "ab", '"', "\n", "ä", "x", "5"])
def test_what_can_separate_nothing_is_refused(tmp_path, said):
    if said:
        with pytest.raises(ConfigError, match=r"--separator must be one character, or comma, .*, got"):
            read(tmp_path, "a,b\n1,2\n", separator=said)


def test_a_separator_that_splits_nothing_is_told(tmp_path):
    with pytest.raises(TableError, match=r"holds no ';' to separate its fields, .* but ',': leave --separator out"):
        read(tmp_path, "a,b\n1,2\n", separator=";")
    with pytest.raises(TableError, match="say with --separator what stands between two fields"):
        read(tmp_path, "a:b:y\n1:2:3\n").require("y", "--target names")


def test_lines_are_those_of_the_file_below_a_line_of_excel(tmp_path):
    table = read(tmp_path, 'sep=;\na;b\n"x\ny";2\n3;4\n')
    assert [table.where(i) for i in range(2)] == ["row 1 (line 3)", "row 2 (line 5)"]
    with pytest.raises(TableError, match=r"row 2 \(line 4\) has 1 field"):
        read(tmp_path, "sep=;\na;b\n1;2\n3\n")
    with pytest.raises(TableError, match=r"row 1 \(line 3\), field 2, holds the byte 0xf6"):
        read(tmp_path, "sep=;\na;b\n1;ö\n".encode("cp1252"))
    with pytest.raises(TableError, match="or cp1252 where Excel on Windows wrote it"):
        read(tmp_path, "größe;b\n1;2\n".encode("cp1252"))
    assert read(tmp_path, "größe;b\n1;2\n".encode("cp1252"), encoding="cp1252").names == ("größe", "b")
    assert read(tmp_path, "sep=;\na;b\n1;ö\n".encode("utf-16"), encoding="utf-16").frame.rows() == [("1", "ö")]


# ─── the first line ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    [
        "5.1,3.5,setosa\n4.9,3.0,setosa\n",
        "7,Braund,male,22\n1,Allen,female,30\n3,Moran,male,4\n",  # no text of the first comes again but one
        "2024-01-01,5.1\n2024-01-02,4.9\n",
        "true;3,5\nfalse;2,5\n",
        "p,x,s\nx,x,s\np,y,t\nx,x,s\n",
        "0,0,1\t\n".replace("\t", "") + "1,0,1\n",
        "red,,5.5\nblue,x,1.5\nred,y,2.5\n",
        "5.1, 3.5, 1.4\n4.9, 3.0, 1.4\n",
        "5,1;3,5;1,4\n4,9;3,0;1,4\n4,7;3,2;1,3\n",
        "$5.10,$3.50\n$4.90,$3.00\n",
        "51%,(14)\n49%,(12)\n",
        "08:30,09:10\n08:40,09:20\n",
        "03-Jan-2024,04-Jan-2024\n05-Feb-2024,06-Mar-2024\n",
        "A12,B3,5\nA13,B4,6\nA14,B5,6\n",
        "5,NA,4\n3,2,1\n7,NA,2\n",
        "1,2,3\n4,5,6\n",
        "0,1\n1,0\n0,1\n1,1\n",
        "1,2,x,y\n5,6,a,b\n7,8,c,d\n",
    ],
)
def test_a_first_line_that_looks_like_a_row_is_refused_with_both_ways_out(tmp_path, content):
    with pytest.raises(TableError) as refusal:
        read(tmp_path, content)
    for way in ("--set data.header=false", "column_1, column_2", "--set data.header=true", "line of names"):
        assert way in str(refusal.value)


@pytest.mark.parametrize(
    "header",
    [
        "a,b,y",
        "country,2019,2020,2021",
        "country,2020",
        "0,1,y",
        "400.5,401.0,401.5,y",
        "store,2024-01-01,2024-02-01,2024-03-01",
        "id,10,20,30",
        "Na,K,Ca",
        "#,Q1,A",
    ],
)
def test_years_wavelengths_and_counts_may_be_names(tmp_path, header):
    width = len(header.split(","))
    rows = "\n".join(",".join(f"{i}.{j}" for j in range(width)) for i in range(3))
    assert read(tmp_path, f"{header}\n{rows}\n").names == tuple(header.split(","))


def test_a_header_that_comes_again_is_no_row():
    assert not looks_like_row(["a", "b"], [["x", "y"], ["a", "b"]])


def test_counts_beside_a_name_of_one_letter_may_be_names():
    assert not looks_like_row(["x", "1", "2"], [["a", "50", "61"], ["b", "70", "64"]])
    assert not looks_like_row(["x", "y"], [["a", "b"], ["c", "d"]])
    assert not looks_like_row(["k", "1", "2"], [["first", "5", "6"], ["second", "7", "8"]])


def test_a_file_without_names_is_read_where_that_is_said(tmp_path):
    table = read(tmp_path, '5.1,setosa\r\n4.9,"x\ny"\r\n1,2\r\n', header=False)
    assert table.frame.to_dicts()[0] == {"column_1": "5.1", "column_2": "setosa"}
    assert [table.where(i) for i in range(3)] == ["row 1 (line 1)", "row 2 (line 2)", "row 3 (line 4)"]
    assert read(tmp_path, "5.1;2\n3;4\n", header=False).frame.rows() == [("5.1", "2"), ("3", "4")]
    with pytest.raises(TableError, match=r"row 2 \(line 2\) has 1 field, but the header has 2"):
        read(tmp_path, "5.1,2\n3\n", header=False)


def test_numbers_are_names_where_that_is_said(tmp_path):
    assert read(tmp_path, "5.1,setosa\n4.9,setosa\n", header=True).names == ("5.1", "setosa")
    assert read(tmp_path, "10,20\n4.9,5\n", header=True).names == ("10", "20")


def test_a_first_line_of_numbers_that_count_up_is_told(tmp_path):
    table = read(tmp_path, "1,2,3\n4.5,5,6\n7.5,8.5,9\n")
    assert table.names == ("1", "2", "3")
    assert read(tmp_path, "0,1,2\n4,5,6\n").names == ("0", "1", "2")  # as data frames without names have them
    assert table.notes == ("the first line holds numbers that count up, which are taken for the column names",)


def test_a_title_above_the_names_is_named_as_what_it_may_be(tmp_path):
    for content in ("Report\n\na,b,y\n1,2,3\n", "# exported\na,b,y\n1,2,3\n"):
        with pytest.raises(TableError, match="take a title or a comment above the column names out"):
            read(tmp_path, content)


# ─── index columns ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "index"),
    [
        (",a,y\n0,5,1\n1,6,2\n", ("Unnamed: 0",)),
        (",a,y\n446,5,1\n404,6,2\n446,7,3\n", ("Unnamed: 0",)),  # rows drawn twice
        ('"",a,y\n"Mazda RX4",5,1\n"Datsun 710",6,2\n', ("Unnamed: 0",)),  # R
        (",a,y\n2024-01-01,5,1\n2024-01-02,6,2\n", ("Unnamed: 0",)),
        (",,a,y\nu,0,5,1\nu,1,6,2\nv,0,6,3\n", ("Unnamed: 0", "Unnamed: 1")),  # of two levels
        ("Unnamed: 0,a,y\n7,5,1\n3,6,2\n", ("Unnamed: 0",)),
        (",Unnamed: 0,a,y\n0,0,5,1\n1,1,6,2\n", ("Unnamed: 0.1", "Unnamed: 0")),  # the second need not be first
        ("a,index,y\n5,1,1\n6,0,2\n", ("index",)),
        ("a,index,y\n5,140,1\n6,120,2\n", ()),  # a heat index, say
        ("a,__index_level_0__,y\n5,x,1\n6,y,2\n", ("__index_level_0__",)),
        ("Unnamed: 0,a,y\nx,5,1\nx,6,2\n", ()),
    ],
)
def test_columns_that_number_or_name_rows_are_left_out_and_told(tmp_path, content, index):
    table = read(tmp_path, content)
    found = table.without_index()
    assert found.names == tuple(name for name in table.names if name not in index)
    assert set(table.index) == set(index)
    assert len(found.notes) == len(index)
    for name, note in zip(table.index, found.notes, strict=True):
        assert note.startswith(f"{name!r} is left out: it is the index of the data frame")
    assert table.without_index(keep=index).names == table.names


def test_a_nameless_column_that_holds_nothing_is_left_out(tmp_path):
    assert read(tmp_path, "a,b,\n1,2,\n3,4,\n").names == ("a", "b")
    with pytest.raises(TableError, match="leaves column 3 of 3 without one"):
        read(tmp_path, "a,b,\n1,2,\n3,4,5\n")


def test_a_frame_and_the_file_it_was_written_to_have_the_same_index_columns(tmp_path):
    frame = pl.DataFrame({"Unnamed: 0": [2, 0, 1], "a": [1.5, 2.5, 3.5]})
    frame.write_csv(tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").index == read_table(frame).index == ("Unnamed: 0",)
