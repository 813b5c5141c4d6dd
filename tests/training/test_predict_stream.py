"""`rowcast predict` on tables of any size: a piece at a time, the answers of a table in memory, whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import sys
from types import SimpleNamespace

import numpy as np
import openpyxl
import polars as pl
import pytest

from rowcast.api.model import Model
from rowcast.cli import main as main_of_command
from rowcast.models import Repository
from rowcast.models.errors import TableError
from rowcast.training.config import make_config
from rowcast.training.data.files.form import FileForm
from rowcast.training.data.shards import arrow, text
from rowcast.training.data.shards.shards import open_shards, why_whole
from rowcast.training.data.table import read_table
from rowcast.training.predict import predict_table
from rowcast.training.stream import predict
from rowcast.training.stream.predict import predict_file
from rowcast.training.stream.write import write_pieces
from rowcast.training.train import train
from tests.support import tables

KEEP = ("city", "amount")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A repository with a model of classes."""
    home = tmp_path_factory.mktemp("home")
    config = make_config(overrides={**tables.QUICK, "data": {"target": "class", "rename": {"length": "size"}}})
    frame = tables.every_kind(300).rename({"size": "length"})
    train(frame.drop("amount"), config, name="m", repository=Repository(home))
    return home


@pytest.fixture(scope="module")
def model(home):
    return Repository(home).open("m")


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces that tables of 1,000 rows have many of, and runs of the graph as long as them."""
    monkeypatch.setattr(arrow, "MOST_ROWS", 96)
    monkeypatch.setattr(arrow, "LEAST_ROWS", 1)
    monkeypatch.setattr(text.pieces_of_delimited, "__defaults__", (3_000,))
    monkeypatch.setattr(text.pieces_of_json_lines, "__defaults__", (3_000,))
    monkeypatch.setattr(predict, "PIECE_ROWS", 128)
    for module in ("rowcast.training.predict", "rowcast.training.stream.predict"):
        monkeypatch.setattr(sys.modules[module], "CHUNK_ROWS", 64)


def written(frame, path):
    ways = {
        "csv": frame.write_csv,
        "jsonl": frame.write_ndjson,
        "parquet": frame.write_parquet,
        "arrow": frame.write_ipc,
    }
    ways[path.suffix[1:]](path)
    return path


def read(path):
    ways = {".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".parquet": pl.read_parquet}
    return ways[path.suffix](path)


ROWS = tables.every_kind(1_000, seed=5).rename({"size": "length"})


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet", "arrow"])
def test_answers_are_those_of_the_table_in_memory_to_the_last_bit(model, tmp_path, extension):
    source = written(ROWS, tmp_path / f"t.{extension}")
    whole = predict_table(model, source, keep=KEEP)
    assert predict_file(model, source, tmp_path / "out.parquet", keep=KEEP) == 1_000
    answers = pl.read_parquet(tmp_path / "out.parquet")
    assert answers.columns == ["city", "amount", "label", "probability_large", "probability_small"]
    assert answers.equals(whole)
    assert sorted(os.listdir(tmp_path)) == ["out.parquet", f"t.{extension}"]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("out", ["new/out.csv", "out.jsonl", "out.parquet"])
def test_several_files_are_answered_one_after_the_other_into_every_form(model, tmp_path, out):
    folder = tmp_path / "t"
    folder.mkdir()
    for i, start in enumerate((0, 230, 231)):
        written(ROWS[start : (230, 231, 1_000)[i]], folder / f"{i}.parquet")
    assert predict_file(model, folder, tmp_path / out) == 1_000
    whole = predict_table(model, folder)
    answers = read(tmp_path / out)
    assert answers["label"].to_list() == whole["label"].to_list()
    assert answers["probability_large"].cast(pl.Float32).equals(whole["probability_large"])


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "csv.gz"])
def test_standard_input_is_answered_to_standard_output(home, model, tmp_path, monkeypatch, capfdbinary, kind):
    source = written(ROWS, tmp_path / f"t.{kind.removesuffix('.gz')}")
    data = source.read_bytes()
    data = gzip.compress(data) if kind == "csv.gz" else data
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    with pytest.raises(SystemExit) as ended:
        main_of_command(["predict", "m", "-", "--out", "-", "--repository", str(home)])
    output = capfdbinary.readouterr()
    assert (ended.value.code, output.err) == (0, b"wrote 1,000 predictions to standard output\n")
    assert output.out == predict_table(model, source).write_csv().encode()


@pytest.mark.usefixtures("small_pieces")
def test_lines_of_json_may_lack_a_column_that_others_hold(model, tmp_path):
    frame = ROWS.with_columns(count=pl.when(pl.int_range(pl.len()) > 700).then("count"))
    lines = frame.write_ndjson().replace('"count":null,', "")
    (tmp_path / "t.jsonl").write_text(lines)
    predict_file(model, tmp_path / "t.jsonl", tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").equals(predict_table(model, tmp_path / "t.jsonl"))
    (tmp_path / "none.jsonl").write_text(ROWS.drop("count").write_ndjson())
    with pytest.raises(TableError, match=r"^the table lacks 'count', which model 'm' needs; its columns: size, member"):
        predict_file(model, tmp_path / "none.jsonl", tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()


def without_rows(path):
    """The table of no rows as a file."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(ROWS.head(0).write_csv().encode()))
    elif path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        book.active.append(ROWS.columns)
        book.save(path)
    elif path.suffix == ".json":
        path.write_text("[]")
    else:
        written(ROWS.head(0), path)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.xlsx", "t.jsonl", "t.json", "t.parquet", "t.arrow"])
def test_no_rows_are_answered_with_no_rows_and_never_learned_from(model, tmp_path, name):
    source, out = without_rows(tmp_path / name), tmp_path / "out.parquet"
    assert predict_file(model, source, out, keep=KEEP) == 0
    answers, one = pl.read_parquet(out), predict_table(model, ROWS.head(1), keep=KEEP)
    assert (answers.height, answers.columns) == (0, one.columns)
    assert answers.schema.items() >= one.drop(KEEP).schema.items()
    inside = Model(model).predict(source, keep=["city"])
    assert (inside.height, inside.columns) == (0, one.drop("amount").columns)
    assert inside.drop("city").schema == one.drop(KEEP).schema
    refusal = rf"^{name} (has .* no rows: a table needs at least one row|is empty: it needs (an array|one JSON object))"
    with pytest.raises(TableError, match=refusal):
        read_table(source)
    if not why_whole(source, FileForm()):
        with pytest.raises(TableError, match=refusal):
            open_shards(source, FileForm())


@pytest.mark.parametrize(
    ("out", "content"), [("out.csv", b"label,probability_large,probability_small\n"), ("out.jsonl", b"")]
)
def test_no_rows_are_written_in_every_form(home, model, tmp_path, monkeypatch, capfdbinary, out, content):
    source = without_rows(tmp_path / "t.csv")
    assert predict_file(model, source, tmp_path / out) == 0
    assert (tmp_path / out).read_bytes() == content
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(source.read_bytes())))
    with pytest.raises(SystemExit) as ended:
        main_of_command(["predict", "m", "-", "--out", "-", "--repository", str(home)])
    output = capfdbinary.readouterr()
    assert (ended.value.code, output.err) == (0, b"wrote 0 predictions to standard output\n")
    assert output.out == b"label,probability_large,probability_small\n"


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet", "csv.gz"])
def test_a_file_without_rows_among_others_adds_none(model, tmp_path, extension):
    folder = tmp_path / "t"
    folder.mkdir()
    for i in (0, 2):
        without_rows(folder / f"{i}.{extension}")
    assert predict_file(model, folder, tmp_path / "out.parquet", keep=KEEP) == 0
    assert pl.read_parquet(tmp_path / "out.parquet").columns[:3] == ["city", "amount", "label"]
    source = written(ROWS.head(7), folder / f"1.{extension.removesuffix('.gz')}")
    if extension == "csv.gz":
        (folder / "1.csv.gz").write_bytes(gzip.compress(source.read_bytes()))
        source.unlink()
    assert predict_file(model, folder, tmp_path / "out.parquet", keep=["city"]) == 7
    assert pl.read_parquet(tmp_path / "out.parquet").equals(predict_table(model, ROWS.head(7), keep=["city"]))
    assert predict_table(model, folder, keep=["city"]).equals(predict_table(model, ROWS.head(7), keep=["city"]))


def test_a_table_of_no_rows_has_the_columns_of_the_model(model, tmp_path):
    source = written(ROWS.head(0).drop("count"), tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"^t\.csv lacks 'count', which model 'm' needs"):
        predict_file(model, source, tmp_path / "out.csv")
    with pytest.raises(TableError, match=r"^--keep names 'other'; columns: "):
        predict_file(model, without_rows(tmp_path / "t.csv"), tmp_path / "out.csv", keep=["other"])
    (tmp_path / "indexed.csv").write_text(f",index,Unnamed: 0.1,{','.join(ROWS.columns)}\n")
    assert predict_file(model, tmp_path / "indexed.csv", tmp_path / "out.csv", keep=["index"]) == 0
    (tmp_path / "nothing.csv").write_bytes(b"")
    with pytest.raises(TableError, match="is empty: a table begins with a line of column names"):
        predict_file(model, tmp_path / "nothing.csv", tmp_path / "out.csv")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_what_is_wrong_late_in_a_table_leaves_what_was_there(model, tmp_path, suffix):
    frame = ROWS.with_columns(pl.col("length").cast(pl.String))
    frame[900, "length"] = "long"
    source = written(frame, tmp_path / "t.csv")
    (tmp_path / f"out.{suffix}").write_text("before")
    with pytest.raises(
        TableError, match=r"^t\.csv: column 'size' holds 'long' in row 901 \(line 902\), which is not a "
    ):
        predict_file(model, source, tmp_path / f"out.{suffix}")
    assert (tmp_path / f"out.{suffix}").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == sorted([f"out.{suffix}", "t.csv"])


@pytest.mark.parametrize("named", [False, True], ids=["without a name", "with a name"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_nothing_is_seen_of_a_file_before_it_is_whole(tmp_path, monkeypatch, suffix, named):
    if named:  # as where a file system has no files without a name
        monkeypatch.delattr(os, "O_TMPFILE")
    seen = []

    def pieces():
        for start in (0, 2):
            seen.append(os.listdir(tmp_path))
            yield pl.DataFrame({"a": [start, start + 1]})

    out = tmp_path / f"out.{suffix}"
    assert write_pieces(out, pieces()) == 4
    assert read(out)["a"].to_list() == [0, 1, 2, 3]
    assert os.listdir(tmp_path) == [out.name]
    assert all(out.name not in names for names in seen)
    if not named:
        assert seen == [[], []]


def test_names_that_look_like_a_row_are_those_of_the_model(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"2019": rng.normal(size=60), "2020": rng.normal(size=60)})
    table = frame.with_columns(y=pl.col("2019") * 2)
    config = make_config(overrides={**tables.QUICK, "data": {"target": "y"}})
    model = train(table, config, name="n", repository=Repository(tmp_path / "home")).model
    source = written(frame, tmp_path / "t.csv")
    predict_file(model, source, tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").equals(predict_table(model, source))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--out", "x.txt"],
            "--out must end in .csv, .parquet or .jsonl, or be - for CSV to standard output, got x.txt",
        ),
        (["--out", "-", "--json"], "--json and --out - would both write to standard output: leave one of them out"),
    ],
)
def test_an_output_that_cannot_be_is_refused(home, capsys, arguments, said):
    with pytest.raises(SystemExit):
        main_of_command(["predict", "m", "t.csv", *arguments, "--repository", str(home)])
    assert said in " ".join(capsys.readouterr().err.split())


def test_an_unknown_encoding_is_told(model, tmp_path):
    (tmp_path / "t.csv").write_text("size,city\n1,Wien\n")
    with pytest.raises(TableError, match=r"^--encoding takes a text encoding such as utf-8, .*, got 'klingon'$"):
        predict_file(model, tmp_path / "t.csv", tmp_path / "out.csv", encoding="klingon")


def test_a_file_that_cannot_be_written_is_called_as_the_person_does(tmp_path):
    folder, out, piece = tmp_path / "folder.csv", tmp_path / f"{'n' * 250}.csv", pl.DataFrame({"a": [1]})
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_pieces(folder, iter(()))  # of which none is computed
    assert (error.value.filename, error.value.filename2) == (str(folder), None)
    with pytest.raises(OSError, match="File name too long") as error:
        write_pieces(out, iter([piece]))
    assert (error.value.filename, error.value.filename2) == (str(out), None)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("small_pieces")
def test_a_kept_column_that_changes_its_type_is_refused(model, tmp_path):
    lines = ROWS.drop("amount").with_columns(note=pl.int_range(pl.len())).write_ndjson()
    (tmp_path / "t.jsonl").write_text(lines.replace('"note":999', '"note":"x"'))
    with pytest.raises(TableError, match=r"^a column that is carried along must be of one type in all parts of a file"):
        predict_file(model, tmp_path / "t.jsonl", tmp_path / "out.csv", keep=["note"])
    with pytest.raises(TableError, match=r"^--keep names 'other'; columns: "):
        predict_file(model, tmp_path / "t.jsonl", tmp_path / "out.csv", keep=["other"])
