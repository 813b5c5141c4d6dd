"""What means null means it in the graph too: whoever sends -999, or a level that was declared null, gets one answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rowcast.models.reading import Reading
from rowcast.models.session import Session
from rowcast.models.signature import MISSING_TIMESTAMP, Signature
from rowcast.models.values import parse_timestamp
from rowcast.training.columns.infer import ColumnRule, infer_columns, read_column
from rowcast.training.columns.target import Target
from rowcast.training.data.table import read_table
from rowcast.training.export import graph as export_graph
from rowcast.training.export.adversarial import adversarial_rows
from rowcast.training.export.gate import check_parity
from rowcast.training.export.graph import Core, export
from rowcast.training.features.describe import describe_columns
from rowcast.training.features.encoder import MISSING_CODE, FeaturesConfig, fit_encoder
from rowcast.training.fit.objective import Objective, ObjectiveConfig
from rowcast.training.network.network import Network, NetworkConfig

LAST_DAY = float(parse_timestamp("9999-12-31"))
LOWEST = -1.7976931348623157e308
ROWS = 60


def rule(name, kind, nulls=(), missing=()):
    return ColumnRule(name, kind, True, frozenset(nulls), reading=Reading(missing_numbers=missing))


@pytest.fixture(scope="module")
def core_and_signature():
    """An untrained model of a column of each kind in which some values mean null."""
    rng = np.random.default_rng(0)
    rules = (
        rule("depth", "number", ["-999"], [LOWEST, 0.1]),
        rule("rooms", "integer"),
        rule("seen", "timestamp", ["NA"], [LAST_DAY]),
        rule("colour", "category", ["unknown", "-"]),
        rule("unknown", "category"),
    )
    columns = {
        "depth": rng.normal(size=ROWS),
        "rooms": rng.integers(0, 9, ROWS).astype(np.float64),
        "seen": rng.integers(0, 10**15, ROWS),
        "colour": rng.choice(["red", "blue", ""], ROWS).astype(object),
        "unknown": rng.choice(["unknown", "known"], ROWS).astype(object),
    }
    columns["depth"][:9] = np.nan
    columns["seen"][5:9] = MISSING_TIMESTAMP
    target = Target("y", "regression", rng.normal(size=ROWS))
    encoder = fit_encoder(columns, rules, FeaturesConfig(), target.values)
    torch.manual_seed(0)
    objective = Objective(target, ObjectiveConfig(intervals="none"))
    config = NetworkConfig(members=2, layers=(8,))
    network = Network(config, encoder.n_features, encoder.d_encoded, encoder.level_counts, 1, n_binary=encoder.n_binary)
    core = Core(encoder, network, objective.head).cpu().eval()
    signature = Signature(task="regression", target="y", columns=describe_columns(encoder, columns, rules))
    return core, signature


@pytest.fixture(scope="module", params=[1000, 0], ids=["one encoder", "an encoder a column"])
def session_and_graph(request, core_and_signature):
    core, signature = core_and_signature
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_graph, "UNION_LIMIT", request.param)
        graph = export(core, signature)
    return Session(graph, "cpu"), graph


@pytest.mark.parametrize(
    ("column", "meaning_null", "missing"),
    [
        ("depth", [-999.0, LOWEST, 0.1], float("nan")),
        ("seen", [int(LAST_DAY)], MISSING_TIMESTAMP),
        ("colour", ["unknown", "-"], ""),
    ],
)
def test_the_graph_answers_what_means_null_as_it_answers_null(session_and_graph, column, meaning_null, missing):
    row = {"depth": 0.5, "rooms": 3.0, "seen": 10**14, "colour": "red", "unknown": "unknown"}
    values = [missing, *meaning_null, row[column]]
    session, _ = session_and_graph
    inputs = {
        c.name: np.array(values if c.name == column else [row[c.name]] * len(values), c.dtype).reshape(-1, 1)
        for c in session.signature.columns
    }
    *absent, ordinary = session.run(inputs).prediction
    assert set(absent) == {absent[0]}
    assert ordinary != absent[0]


def test_what_means_null_in_one_column_is_a_level_of_another(core_and_signature):
    encoder = core_and_signature[0].encoder
    _, _, codes = encoder.raw(
        {c: np.array(["unknown"], object) for c in ("colour", "unknown")}
        | {"depth": np.zeros(1), "rooms": np.zeros(1), "seen": np.zeros(1, np.int64)}
    )
    assert codes.tolist() == [[MISSING_CODE, 3]]


def test_the_gate_asks_what_means_null(core_and_signature, session_and_graph):
    core, signature = core_and_signature
    adversarial = adversarial_rows(signature)
    assert {-999.0, LOWEST, 0.1} <= set(adversarial["depth"])
    assert {"unknown", "-"} <= set(adversarial["colour"])
    check_parity(core, session_and_graph[1], {name: values[:9] for name, values in adversarial.items()})


def test_the_signature_tells_what_means_null_and_nothing_where_nothing_does(core_and_signature):
    told = {column.name: column.reading for column in core_and_signature[1].columns}
    assert told == {
        "depth": Reading(nulls=("-999",), missing_numbers=(LOWEST, -999.0, 0.1)),
        "rooms": None,
        "seen": Reading(missing_numbers=(LAST_DAY,)),
        "colour": Reading(nulls=("-", "unknown")),
        "unknown": None,
    }


@pytest.mark.parametrize("marker", ["-999", "-999.0", " -9.99e2", "-999.000"])
def test_a_number_that_is_declared_null_is_one_however_it_is_written(marker):
    table = read_table({"x": ["-999", "-999.0", "-9.99e+2", "1.5", None], "y": [-999, -999, -999, 2, 3]})
    rules, _ = infer_columns(table, null=[marker], keep=True)
    read = [read_column(table, rule).tolist() for rule in rules]
    assert np.isnan(read[0]).tolist() == [True, True, True, False, True]
    assert np.isnan(read[1]).tolist() == [True, True, True, False, False]
    assert [rule.signature_reading.missing_numbers for rule in rules] == [(-999.0,), (-999.0,)]


def test_a_date_that_is_declared_null_is_one_typed_or_written():
    table = read_table({"x": ["1900-01-01", "1900-01-01T00:00:00Z", "2024-05-01"]})
    (declared,), _ = infer_columns(table, null=["1900-01-01"], keep=True)
    assert read_column(table, declared).tolist() == [MISSING_TIMESTAMP] * 2 + [parse_timestamp("2024-05-01")]
