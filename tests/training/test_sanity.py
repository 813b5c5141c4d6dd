"""The gate finds what differs and what runs wild, names column and value, and a refusal does not cost the fit."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from rowcast.models import Repository
from rowcast.models.errors import ExportRefused
from rowcast.models.signature import Column, Signature
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.target import Target
from rowcast.training.config import make_config
from rowcast.training.export.adversarial import BASES, CELLS, adversarial_rows, odd_rows
from rowcast.training.export.gate import check_parity, check_sane, pass_gate
from rowcast.training.export.graph import Core, export
from rowcast.training.export.precheck import PRECHECK_ROWS, check_encoder, check_target, precheck
from rowcast.training.features.encoder import FeaturesConfig, fit_encoder
from rowcast.training.fit.objective import Objective, ObjectiveConfig
from rowcast.training.fit_network import fit_network, network_of, signature_of
from rowcast.training.network.head import answer_limits
from rowcast.training.prepare import prepare
from rowcast.training.train import train
from tests.support import tables


@pytest.fixture(scope="module")
def fitted():
    """A fitted core of classes and its graph, the prepared table, and the signature."""
    config = make_config(overrides={**tables.QUICK, "data": {"target": "class"}})
    prepared = prepare(tables.every_kind(300), config)
    core, _, _ = fit_network(prepared, config, torch.device("cpu"))
    signature = signature_of(prepared, core)
    return core, export(core, signature), prepared, signature


def test_a_fitted_model_passes_and_says_how_near_its_logits_are(fitted):
    core, graph, prepared, signature = fitted
    parity = pass_gate(core, graph, prepared.test.columns, prepared.train.columns, prepared.train.target)
    assert parity.labels_equal
    assert max(parity.max_difference, parity.max_difference_raw) <= 1e-5
    assert (parity.rows, parity.adversarial_rows) == (60, len(adversarial_rows(signature)["size"]))


def other_core(core, at, factor):
    """The same network, whose encoder reads one feature otherwise: what a graph might get wrong."""
    other = deepcopy(core)
    other.encoder.bins.position_scale[at] *= factor
    return other


def test_a_graph_that_reads_a_column_otherwise_is_refused_and_the_column_named(fitted):
    core, graph, prepared, _ = fitted
    at = core.encoder.binned_at.tolist().index(core.encoder.numbers.index("size"))
    with pytest.raises(ExportRefused, match=r"most where 'size' is .*: leave the column out with --drop size, or read"):
        check_parity(other_core(core, at, 1.5), graph, prepared.test.columns)


def test_saturated_classes_hide_no_difference(fitted):
    core, _, prepared, signature = fitted
    sure = deepcopy(core)
    sure.network.heads.weight.data *= 1e6
    sure.network.heads.bias.data *= 1e6
    graph = export(sure, signature)
    at = core.encoder.binned_at.tolist().index(core.encoder.numbers.index("count"))
    other = other_core(sure, at, 1.001)
    rows = prepared.test.columns
    with torch.no_grad():
        same = [one(*one.encoder.raw(rows)).numpy() for one in (sure, other)]
    assert np.abs(same[0] - same[1]).max() <= 1e-5, "the answers alone do not tell them apart"
    with pytest.raises(
        ExportRefused, match=r"differs from the trained network by \S+ \(at most 1e-05 is allowed\), before"
    ):
        check_parity(other, graph, rows)


def test_one_value_that_decides_alone_is_refused_and_named(fitted):
    core, _, prepared, signature = fitted
    odd = odd_rows(signature, prepared.train.columns)
    check_sane(core, odd, prepared.train.columns, prepared.train.target)
    wild = deepcopy(core)
    at = core.encoder.binned_at.tolist().index(core.encoder.numbers.index("count"))
    wild.encoder.bins.shows_missing[at] = True  # no training row lacks a count, so nothing was learned of one
    wild.network.numbers.weight.data[at, -1] = 1e4
    with pytest.raises(ExportRefused, match=r"'count' is null instead moves a logit .* --drop count"):
        check_sane(wild, odd, prepared.train.columns, prepared.train.target)


def test_an_encoder_that_would_scale_a_value_by_a_million_is_refused_before_a_fit(fitted):
    encoder = deepcopy(fitted[0].encoder)
    check_encoder(encoder)
    encoder.bins.position_scale[encoder.binned_at.tolist().index(1)] = 1e6
    with pytest.raises(ExportRefused, match=r"a value of 'count' that training did not see .* --drop count"):
        check_encoder(encoder)


# ─── before and after the fit ────────────────────────────────────────────────────────────────────────────────────────


def small_config(**fields):
    return make_config(overrides={**tables.QUICK, "data": {"target": "y"}, **fields})


def small_table():
    x = np.cos(np.arange(80))
    return pl.DataFrame({"x": x, "y": 3 * x + np.sin(np.arange(80))})


def test_what_the_gate_would_refuse_whatever_is_learned_is_told_before_any_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr("rowcast.training.export.gate.TOLERANCE", -1.0)
    looks = []
    config = small_config(fit={"epochs": 3, "budget_s": 60.0})
    with pytest.raises(ExportRefused, match="differs from the trained network"):
        train(small_table(), config, name="m", repository=Repository(tmp_path), report=looks.append)
    assert looks == []
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_refused_after_its_fit_is_kept_in_a_folder_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("rowcast.training.export.gate.TOLERANCE", -1.0)
    repository = Repository(tmp_path)
    with pytest.raises(ExportRefused, match=r"nothing was published, and the model is kept in .*refused/m-") as refused:
        train(small_table(), small_config(), name="m", repository=repository)
    folder = Path(re.search(r"kept in (\S+)$", str(refused.value)).group(1))
    assert sorted(file.name for file in folder.iterdir()) == [
        *("config.toml", "history.csv", "model.onnx", "start.json", "weights.safetensors", "why.txt")
    ]
    assert "most where 'x' is" in (folder / "why.txt").read_text()
    assert (repository.names(), repository.listing().ignored) == ([], [])


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_a_target_of_any_size_goes_through_export_and_gate(unit):
    prepared = prepare(small_table().with_columns(pl.col("y") * unit), small_config())
    objective = Objective(prepared.target, ObjectiveConfig())
    check_target(objective, "y", prepared.target.values)
    core = Core(prepared.encoder, network_of(prepared.encoder, objective, small_config()), objective.head)
    seconds = precheck(
        core, signature_of(prepared, core), prepared.test.columns, prepared.train.columns, prepared.train.target
    )
    assert seconds > 0


def test_what_the_gate_will_take_is_reckoned_from_all_rows_that_it_looks_at(monkeypatch):
    """Rows with an odd value are looked at each time: reckoned as held-out rows, they made the gate seem long."""
    prepared = prepare(small_table(), small_config())
    objective = Objective(prepared.target, ObjectiveConfig())
    core = Core(prepared.encoder, network_of(prepared.encoder, objective, small_config()), objective.head)
    signature = signature_of(prepared, core)
    held_out = {name: np.resize(values, 1000) for name, values in prepared.test.columns.items()}
    always = len(next(iter(adversarial_rows(signature).values())))
    always += len(odd_rows(signature, prepared.train.columns).changed)
    ticks = iter([0.0, 1.0, 11.0])  # before the export, after it, after the gate
    monkeypatch.setattr("rowcast.training.export.precheck.time", SimpleNamespace(monotonic=lambda: next(ticks)))
    seconds = precheck(core, signature, held_out, prepared.train.columns, prepared.train.target)
    assert seconds == pytest.approx(1.0 + 10.0 * (1000 + always) / (PRECHECK_ROWS + always))


@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("wild", [1e6, 1e9, -1e12])
def test_a_few_wild_targets_are_no_reason_to_refuse(wild, loss):
    values = np.array([wild, *np.random.default_rng(0).normal(100, 30, 200)])
    objective = Objective(Target("y", "regression", values), ObjectiveConfig(loss=loss))
    check_target(objective, "y", values)


def test_a_skewed_target_is_no_reason_to_refuse():
    values = np.exp(3.0 * np.random.default_rng(1).normal(size=150))
    check_target(Objective(Target("y", "regression", values), ObjectiveConfig()), "y", values)


# ─── answers in sight of what training saw ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("values", [[0.0, 1.0], [-7.0, 100.0], [1e9, 1e9 + 1], [-1e308, 1e308], [3e-310, 5e-310]])
def test_predictions_lie_within_the_range_of_the_target_extended_by_a_quarter_to_a_half(values):
    low, high = values
    least, most = answer_limits(np.array(values))
    reach = high / 2 - low / 2
    assert low - reach <= least <= low - reach / 2.001 or least == -np.finfo(np.float64).max
    assert high + reach / 2.001 <= most <= high + reach or most == np.finfo(np.float64).max


def test_the_limits_of_predictions_do_not_tell_what_the_highest_row_holds():
    assert answer_limits(np.array([0.0, 90.0, 100.0])) == answer_limits(np.array([0.0, 90.0, 101.0]))


@pytest.mark.parametrize("transform", ["none", "standardise", "log"])
def test_whatever_the_network_says_the_prediction_stays_in_sight_of_the_target(transform):
    values = np.exp(np.random.default_rng(0).normal(size=200))
    head = Objective(Target("y", "regression", values, ()), ObjectiveConfig(target_transform=transform)).head
    said = torch.tensor([[-1e30], [-1e3], [1e3], [1e30]], dtype=torch.float64).expand(4, 3)
    answers = head.answer(said)[:, 0]
    reach = (values.max() - values.min()) / 2
    assert values.min() - reach <= answers.min()
    assert answers.max() <= values.max() + reach


# ─── wide tables ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_try_a_wide_table_are_bounded_by_its_columns_and_every_column_meets_every_hostile_value():
    names = [f"c{i}" for i in range(5000)]
    columns = tuple(Column(name=name, kind="number", nullable=True, median=1.0) for name in names)
    signature = Signature(task="regression", target="y", columns=columns)
    adversarial = np.column_stack(list(adversarial_rows(signature).values()))
    assert adversarial.size <= 1.1 * CELLS
    for hostile in (np.inf, -np.inf, 1e308, 5e-324):
        assert ((adversarial[1:-9] == hostile).sum(axis=0) == 1).all()
    odd = odd_rows(signature, dict.fromkeys(names, np.arange(30.0)))
    assert BASES * 10 <= len(odd.changed) <= CELLS // 5000
    assert len({name for name, _ in odd.changed}) >= 3


def test_odd_rows_hold_one_value_that_is_not_their_own():
    rules = [ColumnRule("x", "number", True, frozenset()), ColumnRule("c", "category", True, frozenset())]
    seen = {"x": np.array([1.0, 2.0, 8.0] * 20), "c": np.array(["a", "b", "a"] * 20, object)}
    encoder = fit_encoder(seen, rules, FeaturesConfig(), np.zeros(60))
    columns = (
        Column(name="x", kind="number", nullable=True),
        Column(name="c", kind="category", nullable=True, levels=encoder.vocabularies["c"]),
    )
    odd = odd_rows(Signature(task="regression", target="y", columns=columns), seen)
    values = [value for name, value in odd.changed[::BASES] if name == "x"]
    assert np.isnan(values[0])
    assert {5.0, 4.5} <= set(values), "between the values seen"
    assert min(values[1:]) < -1e300 < 1e300 < max(values[1:])
    for row, (name, value) in enumerate(odd.changed):
        assert odd.columns[name][row] == value or np.isnan(value)
