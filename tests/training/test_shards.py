"""Files that are read a piece at a time: the rows, and what is said of a wrong one, are those of a file read whole."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest

from rowcast.models.errors import TableError
from rowcast.training.data.files.delimited import read_delimited
from rowcast.training.data.files.form import FileForm
from rowcast.training.data.files.json_lines import read_json_lines
from rowcast.training.data.shards import arrow
from rowcast.training.data.shards.shards import one_after_the_other, open_shards, why_whole
from rowcast.training.data.shards.text import pieces_of_delimited, pieces_of_json_lines
from rowcast.training.data.table import read_table
from rowcast.training.stream.sample import Sample
from tests.support import tables

TEXTS = {
    "plain": b"a,b\n" + b"".join(b"%d,x%d\n" % (i, i) for i in range(50)),
    "without a last end of a line": b"a,b\n1,x\n2,y\n3,z",
    "blank lines at the end": b"a,b\n1,x\n2,y\n\n\n",
    "quotes that hold ends of lines": b'a,b\n"1\n\n2","x ""y"", z"\n3,w\n"4","\n"\n5,v\n',
    "quotes in odd places": b'a,b\n1,5" disk\n2,y\n3,7" disk\n4,z\n"5",w\n',
    "ends of lines of Windows": b"a;b\r\n1;x\r\n2;y\r\n3;z\r\n",
    "a mark and a line of Excel": b"\xef\xbb\xbfsep=;\na;b\n1;x\n2;y\n3;\xc3\xa9\n",
    "a header of two lines": b'"a\nb",c\n1,x\n2,y\n3,z\n',
    "one column with rows of nothing": b"a\n1\n\n\n4\n\n",
}


@pytest.mark.parametrize("piece_bytes", [4, 7, 64, 10_000])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_pieces_of_text_are_the_rows_of_the_whole(text, piece_bytes):
    whole = read_delimited(text, FileForm(), ",", "t.csv")
    pieces = list(pieces_of_delimited(io.BytesIO(text), FileForm(), ",", "t.csv", piece_bytes))
    assert pl.concat([piece.frame for piece in pieces]).equals(whole.frame)
    assert np.concatenate([piece.lines for piece in pieces]).tolist() == whole.lines.tolist()


def test_pieces_of_text_may_have_no_header():
    text = b"1,x\n2,y\n3,z\n4,w\n"
    form = FileForm(header=False)
    whole = read_delimited(text, form, ",", "t.csv")
    pieces = list(pieces_of_delimited(io.BytesIO(text), form, ",", "t.csv", 6))
    assert len(pieces) > 1
    assert pl.concat([piece.frame for piece in pieces]).equals(whole.frame)
    assert np.concatenate([piece.lines for piece in pieces]).tolist() == whole.lines.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "text",
    [
        b"a,b\n1,x\n2,y\n3,z\n4\n5,v\n",
        b"a,b\n1,x\n2,y\n3,z\n4,w,u\n5,v\n",
        b"a,b\n1,x\n2,y\n\n4,w\n5,v\n",
        b"a,b\n1,x\n2,y\n3,\xff\n4,w\n",
        b"a,b\n1,x\n2,y\n3,\0\n4,w\n",
        b'a,b\n1,x\n2,y\n3,"z\n4,w\n',
    ],
    ids=["short", "long", "blank", "encoding", "NUL", "quote"],
)
def test_what_is_wrong_in_a_piece_is_told_with_its_place_in_the_file(text):
    with pytest.raises(TableError) as whole:
        read_delimited(text, FileForm(), ",", "t.csv")
    with pytest.raises(TableError) as piece:
        list(pieces_of_delimited(io.BytesIO(text), FileForm(), ",", "t.csv", 6))
    assert str(piece.value) == str(whole.value)


def test_pieces_of_json_lines_are_the_rows_of_the_whole():
    text = b'{"a": 1, "b": "x"}\n\n{"a": 2.5}\n{"a": null, "b": "y"}\n\n'
    whole = read_json_lines(text, "utf-8", "t.jsonl")
    pieces = list(pieces_of_json_lines(io.BytesIO(text), "utf-8", "t.jsonl", 12))
    assert [row for piece in pieces for row in piece.frame.rows(named=True)] == [
        {"a": 1, "b": "x"},
        {"a": 2.5},
        {"a": None, "b": "y"},
    ]
    assert [line for piece in pieces for line in piece.lines] == whole.lines.tolist() == [1, 3, 4]
    with pytest.raises(TableError, match=r"^t\.jsonl, line 5: a line holds one flat JSON object: "):
        list(pieces_of_json_lines(io.BytesIO(text[:-1] + b"{1}\n"), "utf-8", "t.jsonl", 12))


@pytest.mark.parametrize("extension", ["parquet", "arrow", "csv", "tsv"])
def test_the_rows_of_several_files_are_those_of_the_table(tmp_path, monkeypatch, extension):
    monkeypatch.setattr(arrow, "MOST_ROWS", 16)
    monkeypatch.setattr(arrow, "LEAST_ROWS", 1)
    frame = tables.every_kind(100)
    for i, part in enumerate((frame[:30], frame[30:])):
        folder = tmp_path / "t" / f"year={i}"
        folder.mkdir(parents=True)
        write = {"parquet": part.write_parquet, "arrow": part.write_ipc, "csv": part.write_csv}.get(extension)
        write(folder / f"p.{extension}") if write else part.write_csv(folder / f"p.{extension}", separator="\t")
    (tmp_path / "t" / "README.md").write_text("about")
    whole, shards = read_table(tmp_path / "t"), open_shards(tmp_path / "t", FileForm())
    read = one_after_the_other(list(shards.pieces()))
    assert read.frame.equals(whole.frame)
    assert [read.where(i) for i in (0, 29, 30, 99)] == [whole.where(i) for i in (0, 29, 30, 99)]
    assert shards.head.notes == whole.notes
    assert shards.rows == (100 if extension in ("parquet", "arrow") else None)
    some = one_after_the_other(list(shards.pieces(["year", "city"])))
    assert some.frame.equals(whole.frame.select("city", "year"))


def test_what_cannot_be_read_in_pieces_says_why(tmp_path):
    frame = pl.DataFrame({"a": [1, 2]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ipc_stream(tmp_path / "s.arrows")
    (tmp_path / "t.csv").write_text("a\n1\n")
    assert why_whole(tmp_path / "t.parquet", FileForm()) == ""
    assert why_whole(tmp_path / "s.arrows", FileForm()) == "s.arrows is no Arrow file but a stream"
    assert why_whole(tmp_path / "t.csv.gz", FileForm()) == "t.csv.gz is packed"
    assert why_whole(tmp_path / "t.xlsx", FileForm()) == "t.xlsx is none of Parquet, Arrow and delimited text"
    assert why_whole(tmp_path / "t.csv", FileForm("utf-16")) == "a character of utf-16 takes several bytes"
    assert why_whole(frame, FileForm()) == "a data frame is in memory already"
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(TableError, match=r"^t\.parquet cannot be read as Parquet \("):
        open_shards(tmp_path / "t.parquet", FileForm())


def test_a_sample_is_drawn_alike_however_large_the_pieces_are(tmp_path):
    pl.DataFrame({"a": range(1000)}).write_parquet(tmp_path / "t.parquet")
    table = open_shards(tmp_path / "t.parquet", FileForm()).head
    numbers = np.random.default_rng(0).random(1000)
    taken = []
    for step in (1000, 130, 7):
        sample = Sample(50)
        for start in range(0, 1000, step):
            sample.add(table.take(range(start, min(start + step, 1000))), numbers[start : start + step], start)
        taken.append(sample.taken().frame["a"].to_list())
    assert taken[0] == taken[1] == taken[2] == np.sort(np.argsort(numbers)[:50]).tolist()
