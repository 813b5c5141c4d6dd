"""The report that every version is published with: whole, private, and drawn by a browser that reaches nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import polars as pl
import pytest

import rowcast
from rowcast.models.repository import Repository
from rowcast.models.session import Predictions
from rowcast.models.signature import Column
from rowcast.training.config import make_config
from rowcast.training.report.answers import answers_of
from rowcast.training.report.page import facts_in, page
from rowcast.training.report.shares import counted, merged, of_numbers, spread_of
from rowcast.training.report.stored import facts_of_table, stored_facts, write_report
from rowcast.training.train import train
from tests.support import handmade, tables
from tests.support.command import run

TASKS = {"regression": "amount", "binary": "class", "multiclass": "city"}
EVIL = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def table():
    return tables.every_kind().rename({"count": EVIL})


@pytest.fixture(scope="module")
def repository(table, tmp_path_factory):
    """A model of each task; the binary one is split by time, and the multiclass one has no test rows."""
    home = Repository(tmp_path_factory.mktemp("reported"))
    for task, target in TASKS.items():
        rows = table.drop_nulls([target, "when"])
        data = {
            "target": target,
            **{"binary": {"split_by_time": "when"}, "multiclass": {"test_share": 0}}.get(task, {}),
        }
        train(rows, make_config(overrides={**tables.QUICK, "data": data}), name=task, repository=home)
    return home


def facts_of(model):
    return facts_in((model.path / "report.html").read_bytes())


@pytest.mark.parametrize("task", TASKS)
def test_every_version_has_a_report_whose_hash_is_in_the_manifest(repository, task):
    model = repository.open(task)
    assert "report.html" in model.manifest.files
    content = (model.path / "report.html").read_text()
    assert 60_000 < len(content) < 400_000
    facts = facts_of(model)
    assert facts["metrics"] == model.manifest.metrics
    assert facts["about"]["sha256"] == model.sha256
    assert [one["name"] for one in facts["columns"]] == [TASKS[task], *model.manifest.signature.names]
    assert {one["column"] for one in facts["importance"]["columns"]} == set(model.manifest.signature.names)
    assert list(facts["answers"]) == ["validation", "test"][: 1 if task == "multiclass" else 2]
    assert facts["history"]["epoch"] == [1, 2, 3]
    assert facts["decisions"] == model.manifest.decisions


def test_a_split_by_time_is_shown_along_its_column(repository):
    spread = facts_of(repository.open("binary"))["split"]["spread"]
    counts = spread["counts"]
    assert spread["kind"] == "timestamp"
    assert (counts["train"][0] >= 10, counts["test"][0], counts["test"][-1] >= 10) == (True, 0, True)
    assert facts_of(repository.open("regression"))["split"] == {"words": "At random.", "spread": None}


def test_nothing_is_loaded_and_a_column_named_like_a_tag_is_text(repository):
    content = (repository.open("regression").path / "report.html").read_text()
    assert content.count("</script>") == 3
    assert "alert(1)" in content
    assert not re.search(r"\b(src|href)\s*=", content.partition("<script>")[0])
    assert set(re.findall(r"https?://[^\s\"')]+", content)) == {"https://github.com/leeoniya/uPlot"}  # a comment
    assert "default-src 'none'" in content


def counts_in(value):
    """Every number of rows that a report shows of a spread or of a confusion matrix."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("counts", "confusion", "missing"):
                yield from (n for n in np.ravel(list(inner.values()) if isinstance(inner, dict) else inner).tolist())
            else:
                yield from counts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from counts_in(inner)


@pytest.mark.parametrize("task", TASKS)
def test_no_number_of_rows_is_below_ten(repository, task):
    def flat(values):
        for value in values:
            yield from flat(value) if isinstance(value, list) else [value]

    shown = [n for n in flat(counts_in(facts_of(repository.open(task)))) if n is not None]
    assert len(shown) > 20
    assert all(n == 0 or n >= 10 for n in shown)


def test_bins_are_merged_until_every_part_has_ten_rows_or_none():
    counts = np.array([[4, 7, 30, 0, 12, 3], [20, 20, 0, 0, 5, 6]])
    assert merged(counts) == [0, 2, 3, 4, 6]
    assert merged(np.array([[3, 4]])) == []
    spread = of_numbers({"train": np.arange(1000.0), "test": np.arange(0.0, 1000.0, 9)}, 10.0, 990.0)
    assert sum(spread["counts"]["train"]) == 1000
    assert min(spread["counts"]["test"]) >= 10
    assert (spread["edges"][0], spread["edges"][-1]) == (10.0, 990.0)
    assert counted(spread, np.full(9, 500.0)).count(None) == 1


def test_levels_of_fewer_than_ten_rows_are_not_named():
    column = Column(name="c", kind="category", nullable=False, levels={"a": 50, "b": 12, "rare": 3})
    spread = spread_of(column, {"train": np.array(["a"] * 50 + ["b"] * 12 + ["rare"] * 3, object)})
    assert spread == {"labels": ["a", "b", None], "counts": {"train": [50, 12, None]}}


def test_curves_and_tables_are_those_of_the_answers():
    rng = np.random.default_rng(0)
    second = rng.random(2000).astype(np.float32)
    truth = rng.random(2000) < second
    labels = np.where(second >= 0.5, "b", "a").tolist()
    answers = Predictions(labels, np.stack([1 - second, second], axis=1))
    found = answers_of(answers, np.where(truth, "b", "a"), ("a", "b"))["classes"]
    said = second >= 0.5
    assert found["confusion"] == [
        [int((~truth & ~said).sum()), int((~truth & said).sum())],
        [int((truth & ~said).sum()), int((truth & said).sum())],
    ]
    (curve,) = found["curves"]
    hits = truth[np.argsort(-second)]
    precision = np.cumsum(hits) / np.arange(1, 2001)
    assert curve["average_precision"] == pytest.approx(precision[hits].mean(), abs=1e-4)
    assert curve["auc"] == pytest.approx(np.trapezoid(curve["roc"][1], curve["roc"][0]), abs=2e-3)
    assert np.all(np.diff(curve["roc"][0]) >= 0)
    assert found["reliability"]["was"] == pytest.approx(found["reliability"]["said"], abs=0.15)


def test_a_report_on_a_table_has_its_answers_beside_those_of_training(repository, table, tmp_path, capfd):
    model = repository.open("regression")
    rows = table.drop_nulls("amount").with_columns(amount=pl.col("amount") + 1)
    rows.write_csv(tmp_path / "new.csv")
    facts = facts_of_table(model, tmp_path / "new.csv")
    assert list(facts["answers"]) == ["validation", "test", "new.csv"]
    assert facts["rows"]["new.csv"] == 400
    assert facts["metrics"]["new.csv"]["rmse"] > facts["metrics"]["test"]["rmse"]
    assert facts["columns"][0]["spread"]["counts"].keys() == {"train", "validation", "test", "new.csv"}
    assert (facts["about"]["name"], facts["about"]["version"]) == ("regression", 1)
    out = tmp_path / "deep" / "report.html"
    command = ("report", "regression", tmp_path / "new.csv", "--out", out, "--repository", repository.root, "--json")
    code, said, err = run(capfd, *command)
    assert (code, json.loads(said.splitlines()[-1])["report"]) == (0, str(out)), err
    assert list(facts_in(out.read_bytes())["answers"]) == ["validation", "test", "new.csv"]


def test_python_says_where_the_report_is_or_writes_one(repository, tmp_path):
    model = rowcast.load("binary", repository=repository.root)
    assert model.report() == model.path / "report.html"
    assert model.report(tmp_path / "b.html") == tmp_path / "b.html"
    assert facts_in((tmp_path / "b.html").read_bytes())["about"]["name"] == "binary"
    with pytest.raises(rowcast.RowcastError, match="path= says where to write the report"):
        model.report(table=tables.every_kind())


def test_a_model_without_a_report_or_a_history_has_one_of_its_manifest(tmp_path):
    model = Repository(tmp_path).publish("flights", handmade.manifest(), {"model.onnx": handmade.graph()})
    facts = stored_facts(model)
    assert (facts["metrics"], facts["history"], facts["rows"]) == ({"test": {"roc_auc": 0.5}}, None, {})
    assert write_report(model, tmp_path / "r.html").read_bytes() == page(facts)


def test_a_wide_table_has_a_bounded_report_that_says_what_is_left_out(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({f"c{i}": rng.normal(size=60).round(3) for i in range(104)})
    frame = frame.with_columns(y=pl.col("c0") + pl.col("c1"))
    small = {"members": 1, "layers": [4]}
    config = make_config(overrides={"network": small, "data": {"target": "y"}, "fit": {"epochs": 1}})
    facts = facts_of(train(frame, config, name="wide", repository=Repository(tmp_path)).model)
    assert len(facts["columns"]) == 101
    assert "The first 100 of 104 columns are shown" in facts["columns_note"]
    assert facts["importance"]["columns"] == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium to open the report in")
@pytest.mark.parametrize("task", ["regression", "binary"])
def test_a_browser_without_a_network_draws_all_of_it(repository, task, tmp_path):
    command = [
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--proxy-server=127.0.0.1:9"),
        *(f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom"),
    ]
    file = f"file://{repository.open(task).path / 'report.html'}"
    done = subprocess.run([*command, file], capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    drawn = done.stdout.partition('<script type="application/json"')[0]
    assert re.findall(r"<h2>([^<]*)</h2>", drawn) == [
        *("Metrics", "Learning curves", "Answers", "Importance", "Slices that do worst", "Columns", "Split"),
        *("Decisions", "How it was made"),
    ]
    assert f"<h1>{task}:1 " in drawn
    assert drawn.count("<canvas") >= (2 if task == "regression" else 5)
