"""Files of every kind: packed, in folders, in spreadsheets, from standard input; each the same table."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import hashlib
import io
import json
import lzma
import os
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

import openpyxl
import pandas as pd
import polars as pl
import pytest

from rowcast.models.errors import TableError
from rowcast.training.config import make_config
from rowcast.training.data.files import packed
from rowcast.training.data.files.form import FileForm
from rowcast.training.data.files.paths import stem_of
from rowcast.training.data.table import read_table
from rowcast.training.prepare import prepare

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CSV = b"a,b\n1,x\n2,y\n"
ROWS = [("1", "x"), ("2", "y")]
PACK = {".gz": partial(gzip.compress, mtime=0), ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


def test_a_table_may_come_through_a_pipe_which_is_told(tmp_path, caplog):
    pipe = tmp_path / "t.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(CSV,))
    writer.start()
    assert read_table(pipe).frame.rows() == ROWS
    writer.join()
    assert caplog.messages == [f"{pipe} is a pipe: what is written into it is waited for"]


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def workbook(**sheets: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


# ─── packed ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("extension", PACK)
def test_text_may_be_packed_in_every_usual_way(tmp_path, extension):
    lines = b'{"a": 1}\n{"a": 2}\n'
    for name, content in (("t.csv", CSV), ("t.jsonl", lines), ("t.json", b'[{"a": 1}, {"a": 2}]')):
        (tmp_path / name).write_bytes(content)
        (tmp_path / (name + extension)).write_bytes(PACK[extension](content))
        assert read_table(tmp_path / (name + extension)).frame.equals(read_table(tmp_path / name).frame)


def test_a_zip_holds_one_table_beside_what_systems_put_there(tmp_path):
    members = {"data/": b"", "data/t.csv": CSV, "__MACOSX/data/._t.csv": b"x", "data/.DS_Store": b"x"}
    for name in ("t.zip", "t.csv.zip"):
        (tmp_path / name).write_bytes(zipped(**members))
        assert read_table(tmp_path / name).frame.rows() == ROWS
    buffer = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(buffer)
    (tmp_path / "p.zip").write_bytes(zipped(**{"p.parquet": buffer.getvalue()}))
    assert read_table(tmp_path / "p.zip").frame.rows() == [(1,)]


def test_what_stands_beside_a_table_and_is_none_is_left_out_and_told(tmp_path):
    beside = {"README.md": b"# about", "LICENSE": b"MIT", "license.txt": b"MIT", "map.png": b"x"}
    (tmp_path / "t.zip").write_bytes(zipped(**beside, **{"t.csv": CSV}))
    table = read_table(tmp_path / "t.zip")
    assert table.frame.rows() == ROWS
    assert table.notes == ("of the files in t.zip t.csv is read, and not README.md, LICENSE, license.txt, map.png",)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in (beside | {"t.csv": CSV}).items():
        (folder / name).write_bytes(content)
    table = read_table(folder)
    assert table.frame.rows() == ROWS
    assert table.notes == (
        "of the folder t.csv what is no table is not read: LICENSE, README.md, license.txt, map.png",
    )


@pytest.mark.parametrize(
    "names", [["5.1", "3.5", "setosa"], ["5.1", "3.5", "1.4"], ["4", "9", "2"], ["2024-01-01", "x", "y"]]
)
def test_names_of_a_data_frame_that_look_like_a_row_are_told(names):
    value = [1.5, 2.5] if "setosa" not in names else ["setosa", "virginica"]
    dates = ["2024-02-01", "2024-03-01"]
    frame = {name: dates if name.startswith("2024-") else [1.5, 2.5] for name in names[:2]} | {names[2]: value}
    (told,) = read_table(pl.DataFrame(frame)).notes
    assert told.startswith("the names of the columns look like a row of values")
    assert "header=None" in told


@pytest.mark.parametrize("names", [["0", "1", "2"], ["2019", "2020", "2021"], ["a", "b", "c"], ["a", "2020", "2021"]])
def test_names_of_a_data_frame_may_be_numbers_that_run(names):
    assert read_table(pl.DataFrame({name: [1.5, 2.5] for name in names})).notes == ()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.zip", zipped(**{"a.csv": CSV, "b.csv": CSV}), r"t\.zip must hold one table, got 2 \(a\.csv, b\.csv\)"),
        ("t.zip", zipped(), "must hold one table, got 0"),
        ("t.zip", zipped(**{"a.pdf": b"x"}), r"must hold a table, got 'a\.pdf'"),
        ("t.zip", CSV, r"t\.zip cannot be unpacked"),
        *((f"t.csv{e}", PACK[e](CSV * 99)[:-6], rf"t\.csv\{e} cannot be unpacked") for e in PACK),
        *((f"t.csv{e}", CSV, rf"t\.csv\{e} cannot be unpacked") for e in PACK),
        ("t.xlsx", b"no workbook", r"t\.xlsx cannot be read as a spreadsheet"),
        ("t.xlsx", zipped(**{"a.csv": CSV}), r"t\.xlsx cannot be read as a spreadsheet"),
    ],
)
def test_a_package_that_is_damaged_or_holds_no_single_table_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=said):
        read_table(tmp_path / name)


@pytest.mark.parametrize("extension", [*PACK, ".zip"])
def test_what_unpacks_to_more_than_any_table_would_is_refused_before_it_fills_the_memory(
    tmp_path, extension, monkeypatch
):
    monkeypatch.setattr(packed, "ALWAYS_UNPACKED", 1 << 20)
    bomb = b"a,b\n" + b"0,0\n" * 1_000_000
    content = zipped(**{"t.csv": bomb}) if extension == ".zip" else PACK[extension](bomb)
    (tmp_path / f"t.csv{extension}").write_bytes(content)
    monkeypatch.setattr(packed, "MAX_RATIO", 100)
    with pytest.raises(TableError, match=r"must hold at most \d+ MiB unpacked \(100 times its size, or 1 MiB\), got m"):
        read_table(tmp_path / f"t.csv{extension}")


def test_a_spreadsheet_is_a_package_too(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "ALWAYS_UNPACKED", 1 << 10)
    monkeypatch.setattr(packed, "MAX_RATIO", 2)
    (tmp_path / "t.xlsx").write_bytes(workbook(s=[["a"], *[[0.0]] * 2000]))
    with pytest.raises(TableError, match="unpacked"):
        read_table(tmp_path / "t.xlsx")


# ─── spreadsheets ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cells_of_a_spreadsheet_keep_their_types(tmp_path):
    noon, day = dt.datetime(2024, 2, 29, 12), dt.date(2024, 2, 29)  # noqa: DTZ001
    rows = [
        ["n", "whole", "flag", "day", "at", "text", "zip", "mixed", "none"],
        [1.5, 1, True, day, noon, "x", "02139", 5, None],
        [None, 2.0, None, None, None, None, "10115", "N/A", None],
        [2.5, 3, False, day, noon.replace(hour=0), "y", "02139", 1.5, None],
    ]
    (tmp_path / "t.xlsx").write_bytes(workbook(s=rows))
    table = read_table(tmp_path / "t.xlsx")
    midnight = noon.replace(hour=0)
    assert table.frame.to_dict(as_series=False) == {
        "n": [1.5, None, 2.5],
        "whole": [1, 2, 3],
        "flag": [True, None, False],
        "day": [day, None, day],
        "at": [noon, None, midnight],
        "text": ["x", None, "y"],
        "zip": ["02139", "10115", "02139"],
        "mixed": ["5", "N/A", "1.5"],
        "none": [None, None, None],
    }
    assert table.where(1) == "row 2 (line 3)"
    assert table.notes == (
        "'mixed' holds cells of several types (numbers, text), and each is read as its text in a CSV file",
    )


def test_the_first_sheet_that_holds_anything_is_read_and_others_by_name(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(workbook(empty=[], one=[["a"], [1]], two=[["b"], [2]]))
    table = read_table(tmp_path / "t.xlsx")
    assert table.frame.to_dicts() == [{"a": 1}]
    assert table.notes == ("of 2 sheets the first is read, 'one': name another with --set data.sheet=NAME",)
    assert read_table(tmp_path / "t.xlsx", form=FileForm(sheet="two")).frame.to_dicts() == [{"b": 2}]
    with pytest.raises(TableError, match=r"no sheet 'three', which data\.sheet names: its sheets are empty, one, two"):
        read_table(tmp_path / "t.xlsx", form=FileForm(sheet="three"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "is empty"),
        ([["a", "b"]], "a header but no rows"),
        ([["a", "a"], [1, 2]], "'a' as columns 1 and 2"),
        ([["a", None], [1, 2]], "leaves column 2 of 2 without one"),
        ([["a", "b"], [1, 2], [None, None], [3, 4]], r"row 2 \(line 3\) is blank"),
        ([[5.1, "setosa"], [4.9, "setosa"]], r"looks like a row \(line 1\): '5.1', 'setosa'"),
    ],
)
def test_a_sheet_that_is_no_table_is_refused(tmp_path, rows, said):
    (tmp_path / "t.xlsx").write_bytes(workbook(s=rows))
    with pytest.raises(TableError, match=said):
        read_table(tmp_path / "t.xlsx")


def test_an_index_in_a_spreadsheet_is_one_and_a_header_may_be_absent(tmp_path):
    buffer = io.BytesIO()
    pd.DataFrame({"a": [1.5, 2.5]}, index=[7, 3]).to_excel(buffer)
    (tmp_path / "t.xlsx").write_bytes(buffer.getvalue())
    assert read_table(tmp_path / "t.xlsx").without_index().names == ("a",)
    (tmp_path / "u.xlsx").write_bytes(workbook(s=[[5.1, "setosa"], [4.9, "setosa"]]))
    table = read_table(tmp_path / "u.xlsx", form=FileForm(header=False))
    assert table.frame.to_dicts()[0] == {"column_1": 5.1, "column_2": "setosa"}
    assert table.where(0) == "row 1 (line 1)"


# ─── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_file_is_an_array_of_objects_or_one_a_line(tmp_path, indent):
    rows = [{"a": 1, "b": "x"}, {"b": None, "c": True}]
    expected = [{"a": 1, "b": "x", "c": None}, {"a": None, "b": None, "c": True}]
    (tmp_path / "t.json").write_text("\n" + json.dumps(rows, indent=indent) + "\n")
    table = read_table(tmp_path / "t.json")
    assert table.frame.to_dicts() == expected
    assert table.where(1) == ("row 2 (line 2)" if indent is None else "row 2 (line 7)")
    (tmp_path / "u.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_table(tmp_path / "u.json").frame.to_dicts() == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "is empty: it needs an array"),
        ('[{"a": 1}\n{"a": 2}]', "line 2: .* a comma is missing"),
        ('[{"a": 1},\n{"a": [2]}]', "line 2: .* 'a' holds a list"),
        ('[{"a": 1},\n2]', "line 2: .* it is a int"),
        ('[{"a": 1},\n{"a": 1, "a": 2}]', "line 2: .* the key 'a' comes twice"),
        (
            '[{"a": "ok"},\n{"a": "\\ud83d"}]',
            r"line 2: .* 'a' holds half of a character \(the lone surrogate",
        ),
        ('[{"a": 1},', "line 1"),
        ('[{"a": 1}] x', "line 1: .* more follows"),
        ('{"data": [{"a": 1}]}', "must hold an array of flat objects, .* got one object"),
        ('{"a": {"0": 1, "1": 2}}', r'to_json\(orient="records"\)'),
        ("[" * 100_000, "line 1"),
    ],
)
def test_json_that_is_no_table_is_refused_with_the_line(tmp_path, content, said):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(TableError, match=said):
        read_table(tmp_path / "t.json")


@pytest.mark.parametrize("line", ['{"a": "cut \\ud83d"}', '{"a": "\\udc00 x"}', '{"\\ud83d": 1}'])
def test_half_a_character_in_json_lines_is_named_with_its_line(tmp_path, line):
    (tmp_path / "t.jsonl").write_text(f'{{"a": "\\ud83d\\ude00"}}\n{line}\n')
    with pytest.raises(TableError, match=r"t\.jsonl, line 2: .* holds half of a character \(the lone surrogate"):
        read_table(tmp_path / "t.jsonl")


# ─── several files ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pattern_or_a_folder_is_the_rows_of_its_files(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"b,a\nz,3\n")
    (tmp_path / "a.csv").write_bytes(CSV)
    for source in (tmp_path / "*.csv", tmp_path):
        table = read_table(source)
        assert table.frame.rows() == [*ROWS, ("3", "z")]
        assert table.source == f"{source} (2 files)"
        assert [table.where(i) for i in (1, 2)] == ["row 2 (line 3) of a.csv", "row 1 (line 2) of b.csv"]
        assert table.take([2]).where(0) == "row 1 (line 2) of b.csv"
        assert table.notes[0].startswith("the rows of 2 files stand one after the other")


def test_a_folder_that_spark_wrote_is_one_table(tmp_path):
    for year in ("2023", "2024", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"year={year}").mkdir()
        pl.DataFrame({"a": [1.5]}).write_parquet(tmp_path / f"year={year}" / "part-0.parquet")
        (tmp_path / f"year={year}" / ".part-0.parquet.crc").write_bytes(b"x")
    (tmp_path / "_SUCCESS").write_bytes(b"")
    assert read_table(tmp_path).frame.rows() == [(1.5, "2023"), (1.5, "2024"), (1.5, None)]


def test_files_that_differ_in_their_columns_or_types_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "b.csv").write_bytes(b"a,c\n1,x\n")
    with pytest.raises(TableError, match=r"same columns, but b\.csv lacks 'b' and adds 'c', compared with a\.csv"):
        read_table(tmp_path)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "p1.parquet")
    pl.DataFrame({"a": [1.5]}).write_parquet(tmp_path / "p2.parquet")
    assert read_table(tmp_path / "p*.parquet").frame["a"].to_list() == [1.0, 1.5]
    pl.DataFrame({"a": [dt.date(2024, 1, 1)]}).write_parquet(tmp_path / "p3.parquet")
    with pytest.raises(TableError, match=r"column 'a' must be of one type in all files, got Int64 in p1\.parquet and"):
        read_table(tmp_path / "p*.parquet")


def test_a_name_that_means_no_file_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"no file is named like .*\*\.csv"):
        read_table(tmp_path / "*.csv")
    with pytest.raises(TableError, match="is a folder without a table"):
        read_table(tmp_path)
    with pytest.raises(TableError, match="download it first"):
        read_table("https://example.org/t.csv")


def test_a_table_is_named_after_what_was_given(tmp_path):
    assert stem_of(Path("data/sales.csv.gz")) == stem_of("sales.tsv") == "sales"
    assert stem_of("data/sales_*.csv") == stem_of("data/sales") == "sales"
    assert stem_of(tmp_path / "*.csv") == tmp_path.name
    assert stem_of("-") == "table"


# ─── standard input ──────────────────────────────────────────────────────────────────────────────────────────────────


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def arrow(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


def arrow_stream(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


TYPED = pl.DataFrame({"a": ["1", "2"], "b": ["x", "y"]})


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        b"\xef\xbb\xbfa;b\n1;x\n2;y\n",
        b'[{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]',
        b'{"a": "1", "b": "x"}\n{"a": "2", "b": "y"}\n',
        parquet(TYPED),
        arrow(TYPED),
        arrow_stream(TYPED),
        workbook(s=[["a", "b"], ["1", "x"], ["2", "y"]]),
        zipped(**{"t.csv": CSV}),
        *(pack(CSV) for pack in PACK.values()),
        gzip.compress(parquet(TYPED), mtime=0),
    ],
)
def test_standard_input_is_read_by_how_it_begins(content, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    table = read_table("-")
    assert table.frame.rows() == ROWS
    assert table.source == "standard input"
    assert table.sha256 == hashlib.sha256(content).hexdigest()


# ─── Parquet of pandas, and training ─────────────────────────────────────────────────────────────────────────────────


def test_what_pandas_wrote_beside_parquet_is_known(tmp_path):
    frame = pd.DataFrame({"a": [1.5, 2.5], "level": pd.Categorical([1, 2])}, index=[7, 3])
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.index == ("__index_level_0__",)
    assert table.declared == {"level"}
    frame.rename_axis("id").to_parquet(tmp_path / "u.parquet")
    assert read_table(tmp_path / "u.parquet").index == ("id",)
    import pyarrow as pa

    assert read_table(pa.Table.from_pandas(frame)).index == ("__index_level_0__",)
    pd.DataFrame({"a": [1.5, 2.5]}).to_parquet(tmp_path / "v.parquet")
    assert read_table(tmp_path / "v.parquet").index == ()


def test_a_model_learns_nothing_from_an_index_and_is_told_so(tmp_path):
    frame = pd.DataFrame({"a": [i * 0.37 % 1 for i in range(40)], "y": [i / 7 for i in range(40)]})
    shuffled = frame.sample(frac=1.0, random_state=0)
    shuffled.to_csv(tmp_path / "t.csv")
    shuffled.to_parquet(tmp_path / "t.parquet")
    config = make_config(overrides={"data": {"target": "y"}})
    for name, index in (("t.csv", "Unnamed: 0"), ("t.parquet", "__index_level_0__")):
        prepared = prepare(tmp_path / name, config)
        assert [rule.name for rule in prepared.rules] == ["a"]
        assert prepared.decisions[0].startswith(f"{index!r} is left out: it is the index")
        assert prepared.data["sha256"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    kept = make_config(overrides={"data": {"target": "y", "category": ["Unnamed: 0"]}})
    assert [rule.name for rule in prepare(tmp_path / "t.csv", kept).rules] == ["Unnamed: 0", "a"]
