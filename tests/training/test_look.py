"""A look at a table: it says what training decides, from the same code, and trains nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import rowcast
from rowcast.models.errors import ConfigError, TableError
from rowcast.training.config import make_config
from rowcast.training.look import Look, LookConfig, look
from rowcast.training.parts import split_table
from rowcast.training.prepare import open_table, prepare_split, suspicions, understand
from tests.support import tables


def odd(rows: int = 800) -> pl.DataFrame:
    """A table with a column of every kind and of most oddities that training decides about."""
    rng = np.random.default_rng(0)
    frame = tables.every_kind(rows).drop("class")
    return frame.with_columns(
        pl.Series("constant", ["same"] * rows),
        pl.Series("nothing", [None] * rows, pl.String),
        pl.Series("key", [f"k{i}" for i in range(rows)]),
        pl.Series("row", range(1, rows + 1)),
        pl.Series("zip", [f"0{v}" for v in rng.integers(100, 110, rows)]),
        pl.Series("told", frame["amount"] * 2),
        pl.Series("day", [f"{d:02}/01/2024 noon" for d in rng.integers(1, 12, rows)]),
    )


def test_a_seed_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"^seed= must be a whole number from 0 to 4,294,967,295, got -1$"):
        rowcast.look(odd(20), seed=-1)


OPTIONS = [
    {},
    {"drop": ["told", "row"]},
    {"category": ["row", "count"], "null": ["Oslo"]},
    {"split_by_time": "row", "rename": {"zip": "code"}},
    {"group": "city"},
    {"task": "regression", "target": "count"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "none")
def test_a_look_says_what_training_decides(options):
    data = {"target": "amount", **options}
    config = make_config(overrides={"data": data})
    table, target = open_table(odd(), config)
    prepared = prepare_split(table, target, split_table(table, target, config), config)
    found = look(odd(), LookConfig.of(data))

    kept = [c for c in found["columns"] if not c["dropped"] and c["name"] != data["target"]]
    assert [(c["name"], c["kind"]) for c in kept] == [(rule.name, rule.kind) for rule in prepared.rules]
    assert found["task"] == prepared.target.task
    told = [*found["warnings"], *(f"{c['name']!r}: {c['why']}" for c in found["columns"])]
    split = split_table(table, target, config)
    decided = understand(table, target, split, config)
    for decision in (*decided.decisions, *suspicions(decided, config)):
        if not decision.startswith("split by "):
            name = next((f"{c['name']!r}" for c in found["columns"] if decision.startswith(f"{c['name']!r}")), "")
            words = decision.removeprefix(name).removeprefix(" is").strip(": ")
            assert any(text.startswith(name) and words in text for text in told), decision
    dropped = {c["name"] for c in found["columns"] if c["dropped"]}
    assert dropped == {c for c in table.names if c not in (data["target"], *(rule.name for rule in prepared.rules))}
    leaks = [decision for decision in prepared.decisions if " alone tells " in decision]
    assert [warning for warning in found["warnings"] if " alone tells " in warning] == leaks
    assert ("told" in data.get("drop", ()) or data["target"] == "count") != any("'told' alone tells" in t for t in told)


def test_the_json_object_holds_what_is_promised_and_counts_all_rows():
    found = look(odd(), LookConfig.of({"target": "amount"}))
    assert list(found) == ["rows", "columns", "task", "warnings"]
    assert all(list(c) == ["name", "kind", "why", "missing", "distinct", "dropped"] for c in found["columns"])
    by_name = {c["name"]: c for c in found["columns"]}
    assert list(by_name) == odd().columns
    assert found["rows"] == 800
    assert by_name["nothing"]["missing"] == 1.0
    assert by_name["size"]["missing"] == odd()["size"].null_count() / 800
    assert by_name["city"]["distinct"] == 4
    assert by_name["constant"]["dropped"]
    assert not by_name["amount"]["dropped"]


def test_without_a_target_every_column_is_looked_at_and_there_is_no_task():
    found = rowcast.look(odd())
    assert found["task"] is None
    assert {c["name"]: c["kind"] for c in found["columns"]}["amount"] == "number"


def test_what_training_would_refuse_is_a_warning_and_the_other_columns_are_seen():
    frame = odd().with_columns(pl.Series("amount", ["a", "b"] * 399 + ["c", "d"]))
    found = rowcast.look(frame, target="amount")
    assert found["task"] is None
    assert any("class 'c' has 1 row" in warning for warning in found["warnings"])
    assert {c["name"]: c["kind"] for c in found["columns"]}["size"] == "number"


def test_values_far_beyond_all_others_are_told():
    frame = odd().with_columns(pl.Series("size", [123456.5, *np.arange(799.0)]))
    assert any("'size' holds values far beyond all others in 1 row" in w for w in rowcast.look(frame)["warnings"])
    assert not any("far beyond" in warning for warning in rowcast.look(odd())["warnings"])


def test_a_look_refuses_an_option_that_is_none_and_a_column_that_is_not_there():
    with pytest.raises(ConfigError, match="there is no field 'droop'"):
        rowcast.look(odd(), droop=["size"])
    with pytest.raises(TableError, match="no column 'amont'"):
        rowcast.look(odd(), target="amont")


def test_a_look_printed_is_a_table_to_read():
    text = str(Look(rows=3, columns=rowcast.look({"a": [1, 2, 3]}).seen, task=None, warnings=["\x1b[2J"]))
    assert text.splitlines()[0] == "3 rows, 1 columns"
    assert text.splitlines()[2].split("  ")[0] == "a"
    assert "integer, dropped" in text.splitlines()[2]
    assert "1 to 3, median 2" in text
    assert "\x1b" not in text


def test_a_notebook_shows_a_look_as_a_table_and_a_name_that_is_a_tag_as_text():
    found = look(pl.DataFrame({"<b>": [1.5, 2.0, None], "one": [1, 1, 1]}), LookConfig())
    shown = found._repr_html_()
    assert shown.startswith("<table><caption>3 rows, 2 columns</caption>")
    assert '<td style="text-align:left">&lt;b&gt;</td>' in shown
    assert "33.3%" in shown
    assert shown.count("<li>") == len(found["warnings"])


def test_a_look_loads_no_torch():
    code = "import rowcast, sys; rowcast.look({'a': [1.5, 2, 1], 'y': [1.5, 2, 3]}, 'y'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_target_is_seen_as_training_reads_it():
    frame = pl.DataFrame({"x": np.arange(60.0) % 7, "y": [f"{v},5" for v in range(60)]})
    column = rowcast.look(frame, target="y")["columns"][1]
    assert (column["kind"], column["distinct"], column["missing"]) == ("number", 60, 0.0)
    counts = rowcast.look(frame.with_columns(y=pl.Series([*range(5)] * 12)), target="y")
    assert (counts["task"], counts["columns"][1]["kind"]) == ("multiclass", "integer")
    assert 'data={"task"' not in counts["columns"][1]["why"]
    assert 'task="regression" takes them as quantities' in counts["columns"][1]["why"]
    missing = rowcast.look(frame.with_columns(y=pl.Series([None] * 6 + [v + 0.5 for v in range(54)])), target="y")
    assert missing["columns"][1]["missing"] == 0.1
