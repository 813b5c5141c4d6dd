"""Metrics of labels against scikit-learn, and metrics of the parts of a table."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
import sklearn.metrics

from rowcast.models import Repository
from rowcast.models.errors import TableError
from rowcast.training.config import make_config
from rowcast.training.fit.confusion import average_precision, confusion, confusion_metrics
from rowcast.training.fit.evaluate import regression_metrics
from rowcast.training.predict import evaluate_table, judge_table, predict_table
from rowcast.training.slices import as_text, slices_of
from rowcast.training.train import train
from tests.support import tables
from tests.support.command import run

# ─── labels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [2, 4])
def test_metrics_of_labels_are_those_of_scikit_learn(n, weighted):
    rng = np.random.default_rng(n)
    classes = tuple("abcd"[:n])
    p = rng.dirichlet(np.ones(n), 300).round(2).astype(np.float32)
    labels, answers = rng.choice(classes, 300), rng.choice(classes, 300)
    weight = rng.gamma(1.0, size=300) if weighted else None
    found = confusion_metrics(labels, answers, p, classes, weight)
    scored = {"pos_label": "b"} if n == 2 else {"average": "macro"}
    for name in ("precision", "recall", "f1"):
        measure = getattr(sklearn.metrics, f"{name}_score")
        assert found[name] == pytest.approx(measure(labels, answers, sample_weight=weight, **scored))
    ranked = [
        sklearn.metrics.average_precision_score(labels == c, p[:, i], sample_weight=weight)
        for i, c in enumerate(classes)
    ]
    assert found["average_precision"] == pytest.approx(ranked[1] if n == 2 else np.mean(ranked))
    matrix = sklearn.metrics.confusion_matrix(labels, answers, labels=list(classes), sample_weight=weight)
    assert confusion(labels, answers, classes, weight) == pytest.approx(matrix)


def test_a_class_that_is_never_answered_has_a_precision_of_0():
    p = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    found = confusion_metrics(["a", "b"], ["a", "a"], p, ("a", "b"))
    assert found == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "average_precision": 1.0}
    assert "average_precision" not in confusion_metrics(["a", "a"], ["a", "a"], p, ("a", "b"))


def test_rows_of_one_score_stand_together_in_the_average_precision():
    assert average_precision(np.array([True, False, False, True]), np.array([0.5, 0.5, 0.1, 0.1])) == 0.5


# ─── slices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A table, and a model of its amount and one of its class."""
    table = tables.every_kind(200)
    repository = Repository(tmp_path_factory.mktemp("repository"))
    config = {**tables.QUICK, "fit": {"epochs": 1}}
    made = {
        name: train(
            table, make_config(overrides={**config, "data": {"target": name}}), name=name, repository=repository
        ).model
        for name in ("amount", "class")
    }
    return table, made


def by(models, target, *names):
    table, made = models
    return slices_of(made[target], judge_table(made[target], table), names)


def test_each_value_has_its_row_in_order_with_null_last_and_few_rows_marked(models):
    table, made = models
    slices = by(models, "amount", "city")
    assert slices.columns == ["city", "rows", "few", "rmse", "mae", "r2", "coverage"]
    assert slices["city"].to_list() == ["New York, NY", "Oslo", "Rome", "Zürich", None]
    counts = [table.filter(pl.col("city").eq_missing(city)).height for city in slices["city"]]
    assert slices["rows"].to_list() == counts
    assert slices["few"].to_list() == [count < 30 for count in counts]
    oslo = table.filter(pl.col("city") == "Oslo")
    answers = predict_table(made["amount"], oslo)["prediction"].to_numpy()
    expected = regression_metrics(oslo["amount"].to_numpy(), answers)
    assert slices.filter(pl.col("city") == "Oslo").select("rmse", "mae", "r2").row(0, named=True) == pytest.approx(
        expected
    )


def test_slices_weigh_up_to_the_whole(models):
    table, made = models
    slices = by(models, "class", "member", "city")
    whole = evaluate_table(made["class"], table)
    assert slices["rows"].sum() == whole["rows"] == 200
    assert (slices["rows"] @ slices["accuracy"]) / 200 == pytest.approx(whole["metrics"]["accuracy"])
    assert slices.select("member", "city").is_unique().all()


@pytest.mark.parametrize("name", ["size", "when"])
def test_many_numbers_and_times_are_cut_into_ten_bins_of_as_many_rows(models, name):
    table, made = models
    column = table[name].str.to_datetime(time_zone="UTC") if name == "when" else table[name]
    slices = slices_of(made["amount"], judge_table(made["amount"], table.with_columns(column)), [name])
    sizes = slices["rows"].to_list()
    assert len(sizes) == 11
    assert max(sizes[:10]) - min(sizes[:10]) <= 1
    assert slices[name].to_list()[-1] is None
    assert sizes[-1] == table[name].null_count()
    assert slices[name][0].startswith(
        f"{column.min():.4g} to " if name == "size" else column.dt.replace_time_zone(None).min().isoformat(" ")
    )


def test_numbers_in_text_are_numbers(models):
    table, made = models
    text = table.with_columns(pl.col("count").cast(pl.String))
    slices = slices_of(made["amount"], judge_table(made["amount"], text), ["count"])
    assert (len(slices), slices["rows"].sum()) == (10, 200)


FORMS = ("at", "price", "took", "day", "member")


def in_both_forms(rows):
    """Columns of one content each, as text files write them and typed, and the rest of a table."""
    table = tables.every_kind(rows)
    numbers = range(rows)
    at = [tables.START.replace(tzinfo=None) + timedelta(minutes=433 * i) for i in numbers]
    day = [date(2020, 1, 1) + timedelta(days=i) for i in numbers]
    price = [round(800 + 1.37 * i, 2) for i in numbers]
    text = table.with_columns(
        at=pl.Series([f"{when + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}+02:00" for when in at]),
        price=pl.Series([f"${value:,.2f}" for value in price]),
        took=pl.Series([f"{i // 60}h {i % 60}m" for i in numbers]),
        day=pl.Series([f"{d.day}-{d:%b-%Y}" for d in day]),
        member=pl.col("member").cast(pl.String),
    )
    typed = table.with_columns(
        at=pl.Series(at).dt.replace_time_zone("UTC"),
        price=pl.Series(price),
        took=pl.Series([timedelta(minutes=i) for i in numbers]),
        day=pl.Series(day),
    )
    return text, typed


@pytest.fixture(scope="module")
def both_forms(models, tmp_path_factory):
    """1,200 rows as CSV and as Parquet."""
    folder = tmp_path_factory.mktemp("forms")
    text, typed = in_both_forms(1_200)
    text.write_csv(folder / "t.csv")
    typed.write_parquet(folder / "t.parquet")
    return folder / "t.csv", folder / "t.parquet"


@pytest.fixture(scope="module")
def of_forms(models):
    """A model of the amount that was trained on these columns as text, and on whole numbers as a category."""
    text, _ = in_both_forms(200)
    data = {"target": "amount", "category": ["count"], "drop": ["class"]}
    config = make_config(overrides={**tables.QUICK, "fit": {"epochs": 1}, "data": data})
    home = Repository(models[1]["amount"].path.parents[1])
    return train(text, config, name="forms", repository=home).model


@pytest.mark.parametrize("trained", ["without these columns", "on these columns"])
def test_every_form_of_a_table_has_the_same_slices(models, of_forms, both_forms, trained):
    model = of_forms if trained == "on these columns" else models[1]["amount"]
    text, typed = (judge_table(model, file) for file in both_forms)
    for name in (*FORMS, "amount", "count"):
        found = slices_of(model, text, [name])
        assert found.equals(slices_of(model, typed, [name])), name
        levels = 40 if (trained, name) == ("on these columns", "count") else 10
        assert len(found) == (3 if name == "member" else levels), name
    shown = {name: slices_of(model, text, [name])[name].to_list() for name in (*FORMS, "count")}
    assert shown["at"][0].startswith("2021-01-01 00:00:00 to ")
    assert shown["price"][0] == "800 to 963"
    assert shown["took"][:2] == ["0:00:00 to 1:59:00", "2:00:00 to 3:59:00"]
    assert shown["day"][0] == "2020-01-01 to 2020-04-29"
    assert shown["member"] == [False, True, None]
    if trained == "on these columns":
        assert shown["count"] == list(range(40))
    else:
        assert shown["count"][0].startswith("0 to ")


def test_slices_of_few_times_and_of_classes_are_typed_as_the_column_is(models, of_forms, both_forms):
    few = judge_table(of_forms, pl.read_csv(both_forms[0], infer_schema=False).head(3))
    found = {name: slices_of(of_forms, few, [name])[name].to_list() for name in ("took", "day", "at")}
    assert found["took"] == [timedelta(minutes=i) for i in range(3)]
    assert found["day"] == [date(2020, 1, 1 + i) for i in range(3)]
    assert found["at"] == [tables.START.replace(tzinfo=None) + timedelta(minutes=433 * i) for i in range(3)]
    model = models[1]["class"]
    assert by(models, "class", "class")["class"].to_list() == ["large", "small"]
    assert slices_of(model, judge_table(model, both_forms[0]), ["class"])["rows"].sum() == 1_200


def test_dates_that_do_not_tell_the_day_from_the_month_are_cut_as_texts(models):
    table, made = models
    table = table.with_columns(due=pl.Series(["01/02/2022", "03/04/2022"] * 100))
    slices = slices_of(made["amount"], judge_table(made["amount"], table), ["due"])
    assert slices["due"].to_list() == ["01/02/2022", "03/04/2022"]


def test_no_rows_cannot_be_measured(models, tmp_path):
    table, made = models
    for file, write in (("t.csv", table.head(0).write_csv), ("t.parquet", table.head(0).write_parquet)):
        write(tmp_path / file)
        with pytest.raises(TableError, match=rf"^{file} has .* no rows: a table needs at least one row"):
            judge_table(made["amount"], tmp_path / file)
    with pytest.raises(TableError, match=r"^data frame has columns but no rows"):
        judge_table(made["amount"], table.head(0))


def test_slices_that_cannot_be_are_refused(models):
    with pytest.raises(TableError, match="has no column 'town', which --by names"):
        by(models, "amount", "town")
    table, made = models
    table = pl.concat([table] * 6).with_columns(pl.Series("who", [f"w{i}" for i in range(1200)]), rows=1)
    judged = judge_table(made["amount"], table)
    with pytest.raises(TableError, match="--by must give at most 1,000 slices, got 1,200 of who: name a column"):
        slices_of(made["amount"], judged, ["who"])
    with pytest.raises(TableError, match="--by names 'rows', which the metrics also hold: rename it in the table"):
        slices_of(made["amount"], judged, ["rows"])


def test_a_confusion_matrix_counts_the_labels(models):
    table, made = models
    found = evaluate_table(made["class"], table)
    labels = predict_table(made["class"], table)["label"]
    counted = [[((table["class"] == a) & (labels == b)).sum() for b in ("large", "small")] for a in ("large", "small")]
    assert found["confusion"] == {"classes": ["large", "small"], "counts": counted}
    assert all(isinstance(value, float) for value in found["metrics"].values())


def test_the_command_prints_slices_on_stdout(models, tmp_path, capfd):
    table, made = models
    table.write_csv(tmp_path / "t.csv")
    given = ("evaluate", "class", tmp_path / "t.csv", "--by", "city", "--repository", made["class"].path.parents[1])
    _, out, _ = run(capfd, *given)
    assert out.splitlines()[1:] == as_text(by(models, "class", "city")).splitlines()
    _, out, _ = run(capfd, *given, "--json")
    (line,) = out.splitlines()
    assert [row["city"] for row in json.loads(line)["by"]] == ["New York, NY", "Oslo", "Rome", "Zürich", None]
