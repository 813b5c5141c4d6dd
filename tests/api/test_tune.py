"""``rowcast.tune``: what comes out."""

from __future__ import annotations

import pytest

import rowcast
from rowcast.models.errors import ConfigError
from tests.support import tables

SPACE = {"network.layers": [[8], [16]], "network.dropout": {"low": 0.0, "high": 0.3}}


@pytest.fixture(scope="module")
def study(frame):
    return rowcast.tune(frame.drop("large"), target="amount", trials=3, space=SPACE, verbose=False, **tables.QUICK)


def test_a_study_holds_its_trials_the_best_config_and_a_model_that_is_not_published(study):
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    assert study.trials[0].config == {"network": {"layers": [16], "dropout": 0.1}}
    assert study.best_value == min(trial.value for trial in study.trials if not trial.pruned)
    assert study.model.name is None
    assert study.table().columns[-2:] == ["network.layers", "network.dropout"]
    assert repr(study).startswith("<rowcast.tune 3 trials, best rmse ")
    shown = study._repr_html_()
    assert shown.count("<tr>") == 4
    assert "<th>network.dropout</th>" in shown
    assert f"<td>{study.best_value:.4g}</td>" in shown.split("</tr>")[1]


def test_the_best_config_is_what_fit_takes(frame, study):
    again = rowcast.fit(frame.drop("large"), target="amount", verbose=False, **study.best_config)
    assert again.metrics["validation"] == study.model.metrics["validation"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"trials": 0}, "trials= must be a whole number from 1 on, got 0"),
        ({"jobs": 2, "network": lambda d_in, d_out: None}, "jobs= must be 1 beside a network or loss of one's own"),
        ({"space": {"network.widths": [1]}}, "'tune.space' holds fields of the config, got 'network.widths'"),
        ({"space": {"network.dropout": 0.2}}, 'say it outside the space, such as network={"dropout": 0.2}'),
        ({"space": 3}, "space= must be a dict of the fields that are searched, got 3"),
        ({"storage": 3}, "storage= must be a file, or the URL of a database, got 3"),
        ({"budget": [60]}, 'budget= must be more than 0 seconds, or a text such as "30m", got [60]'),
        ({"budget": "soon"}, "budget= must be a positive number and s, m or h"),
        ({"trails": 3}, "did you mean 'trials'?"),
        ({"space": {}, "tune": {"space": {}}}, "what is searched is said once, got both space= and tune="),
        ({"epochs": 3, "fit": {"epochs": 2}}, "passes are said once, got both epochs= and fit="),
        ({"epochs": 0}, "'fit.epochs' must be"),
    ],
)
def test_arguments_out_of_range_are_named(frame, arguments, sentence):
    with pytest.raises(ConfigError) as refused:
        rowcast.tune(frame, target="amount", verbose=False, **arguments)
    assert sentence in str(refused.value)
    assert "--" not in str(refused.value)


def test_what_can_be_read_once_is_read_once(frame):
    rows = frame.drop("large")
    readings = []

    def read(batch):
        readings.append(len(batch))
        return batch

    for table in (rows.to_arrow().to_reader(), rows.lazy().map_batches(read, schema=rows.schema)):
        study = rowcast.tune(table, target="amount", trials=1, folds=2, space=SPACE, verbose=False, **tables.QUICK)
        assert study.model.predict(rows.head(3)).shape[0] == 3
    assert readings == [len(rows)]


def test_a_test_table_is_what_the_model_alone_is_measured_on(frame):
    rows = frame.drop("large")
    for test in (rows.tail(40), rows.tail(40).lazy()):
        study = rowcast.tune(
            rows.head(160),
            target="amount",
            trials=1,
            test=test,
            epochs=2,
            space=SPACE,
            verbose=False,
            network={"layers": [8]},
        )
        assert study.model.stored.manifest.config["fit"]["epochs"] == 2
        assert study.model.metrics["test"].keys() == study.model.metrics["validation"].keys()
    x, y = rows.drop("amount"), rows["amount"]
    again = rowcast.tune(
        x.head(160),
        y.head(160),
        trials=1,
        test=(x.tail(40), y.tail(40)),
        epochs=2,
        space=SPACE,
        verbose=False,
        network={"layers": [8]},
    )
    assert again.model.metrics["test"]["rmse"] == pytest.approx(study.model.metrics["test"]["rmse"], rel=1e-6)
