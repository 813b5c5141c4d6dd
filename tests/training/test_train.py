"""A table in, a published model out; and nothing learned from a row that was held out."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import onnx
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from rowcast.models import Repository, Session, Signature, TableError, TrainingError
from rowcast.models.errors import ConfigError, DeviceError, ModelError
from rowcast.models.signature import Column
from rowcast.training.columns.target import Target
from rowcast.training.config import make_config
from rowcast.training.export.adversarial import ADVERSARIAL_ROWS, adversarial_rows
from rowcast.training.export.gate import GATE_ROWS
from rowcast.training.fit.evaluate import regression_metrics
from rowcast.training.fit.loop import LOOKED_AT_ROWS, Batch, looked_at
from rowcast.training.fit.objective import Objective, ObjectiveConfig
from rowcast.training.fit_network import fit_network
from rowcast.training.predict import evaluate_table, predict_table
from rowcast.training.prepare import prepare
from rowcast.training.train import train
from tests.support import bare, tables

TASKS = {"regression": "amount", "binary": "class", "multiclass": "city"}


def config_for(target, **data):
    return make_config(overrides={**tables.QUICK, "data": {"target": target, **data}})


@pytest.fixture(scope="module")
def table():
    return tables.every_kind()


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    """One model a task, trained on the same table without its nulls in the target."""
    repository = Repository(tmp_path_factory.mktemp("repository"))
    return {
        task: train(table.drop_nulls(target), config_for(target), name=task, repository=repository)
        for task, target in TASKS.items()
    }


@pytest.mark.parametrize("task", TASKS)
def test_a_published_model_is_what_the_contract_says(trained, task):
    model = trained[task].model
    graph = onnx.load_from_string(model.graph)
    assert {(o.domain, o.version) for o in graph.opset_import} == {("", 20), ("ai.onnx.ml", 4)}
    signature = model.manifest.signature
    assert [i.name for i in graph.graph.input] == list(signature.names)
    assert [o.name for o in graph.graph.output] == list(signature.outputs)
    types = {"category": onnx.TensorProto.STRING, "timestamp": onnx.TensorProto.INT64}
    for value, column in zip(graph.graph.input, signature.columns, strict=True):
        assert value.type.tensor_type.elem_type == types.get(column.kind, onnx.TensorProto.DOUBLE)
        assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == ["rows", 1]
    for value in graph.graph.output:
        width = len(signature.classes) if value.name == "probabilities" else 1
        assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == ["rows", width]
    assert {p.key for p in graph.metadata_props} == {"rowcast.signature"}
    manifest = json.loads((model.path / "model.json").read_text())
    assert list(manifest)[:12] == [
        *("format", "name", "version", "created", "signature", "metrics", "parity", "decisions"),
        *("config", "data", "versions", "files"),
    ]
    assert json.loads(graph.metadata_props[0].value) == manifest["signature"]
    assert set(manifest["files"]) == {
        "model.onnx",
        "weights.safetensors",
        "config.toml",
        "history.csv",
        "report.html",
        "start.json",
    }
    assert manifest["parity"]["max_difference"] <= 1e-5
    assert manifest["parity"]["labels_equal"] is True


def test_the_graph_tells_nothing_of_the_machine_that_trained(trained):
    text = trained["binary"].model.graph
    for trace in (b"site-packages", b".py", b"torch.nn", b"/home", b"/tmp"):
        assert trace not in text


def test_kinds_are_read_off_the_table(trained):
    kinds = {c.name: (c.kind, c.nullable) for c in trained["regression"].model.manifest.signature.columns}
    assert kinds == {
        "size": ("number", True),
        "count": ("integer", False),
        "member": ("boolean", True),
        "city": ("category", True),
        "when": ("timestamp", True),
        "class": ("category", False),
    }


def test_every_part_is_counted(trained):
    assert trained["regression"].rows == {"train": 256, "validation": 64, "test": 80}


@pytest.mark.parametrize("task", TASKS)
def test_the_bare_runtime_predicts_and_a_table_command_agree(trained, table, task, tmp_path):
    model = trained[task].model
    rows = table.drop_nulls(TASKS[task])
    rows.write_csv(tmp_path / "rows.csv")
    answers = bare.answer(str(model.path / "model.onnx"), str(tmp_path / "rows.csv"))
    frame = predict_table(model, tmp_path / "rows.csv")
    if task == "regression":
        for name in ("prediction", "lower", "upper"):
            assert np.array_equal(answers[name][:, 0], frame[name].to_numpy())
    else:
        assert answers["label"][:, 0].tolist() == frame["label"].to_list()
        for i, label in enumerate(model.manifest.signature.classes):
            assert np.abs(answers["probabilities"][:, i] - frame[f"probability_{label}"].to_numpy()).max() <= 1e-6


@pytest.mark.parametrize("task", TASKS)
def test_a_row_alone_and_in_any_batch_gets_the_same_answer(trained, table, task):
    model = trained[task].model
    frame = table.drop_nulls(TASKS[task]).head(200)
    whole = predict_table(model, frame).drop("label", strict=False).to_numpy()
    scale = np.maximum(1.0, np.abs(whole)) if task == "regression" else 1.0
    for size in (1, 7, 64):
        parts = [
            predict_table(model, frame[start : start + size]).drop("label", strict=False)
            for start in range(0, 200 if size > 1 else 40, size)
        ]
        got = pl.concat(parts).to_numpy()
        assert (np.abs(got - whole[: len(got)]) <= 1e-6 * (scale[: len(got)] if task == "regression" else 1)).all()


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6, 1e12])
def test_whatever_its_unit_a_target_around_0_gets_the_same_answer_in_any_batch(tmp_path, scale, members):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 600))
    frame = pl.DataFrame({"x": x, "y": y, "target": scale * (x + np.sin(3 * y))})
    config = make_config(
        overrides={
            "network": {"members": members, "layers": [32]},
            "fit": {"epochs": 2},
            "data": {"target": "target"},
        }
    )
    model = train(frame, config, name="scale", repository=Repository(tmp_path)).model
    session = Session.of(model)
    columns = {"x": x.reshape(-1, 1), "y": y.reshape(-1, 1)}
    whole = session.run(columns).prediction
    for size in (1, 7, 64):
        parts = [
            session.run({k: v[at : at + size] for k, v in columns.items()}).prediction for at in range(0, 600, size)
        ]
        assert (np.abs(np.concatenate(parts) - whole) <= 1e-6 * np.maximum(1, np.abs(whole))).all()
    assert model.manifest.parity["max_difference"] <= 1e-5


def test_columns_may_be_named_like_anything_inside_the_graph(tmp_path):
    names = [
        "inputs.numbers",
        "inputs.levels",
        "core.cat",
        "head.best",
        "_core.x",
        "numbers",
        "codes",
        "answers",
        "rows",
    ]
    rng = np.random.default_rng(0)
    columns = {n: rng.normal(size=80) if i % 2 else rng.choice(["a", "b"], 80) for i, n in enumerate(names)}
    frame = pl.DataFrame(columns | {"y": rng.choice(["u", "v"], 80)})
    model = train(frame, config_for("y"), name="names", repository=Repository(tmp_path)).model
    assert model.manifest.signature.names == tuple(names)


def test_a_name_of_before_the_renaming_is_taken_kept_and_ignored_where_the_new_one_is_there(table, tmp_path):
    clash = table.rename({"size": "prediction"})
    config = config_for("amount", rename={"prediction": "size"})
    model = train(clash, config, name="renamed", repository=Repository(tmp_path)).model
    old = predict_table(model, clash)
    both = predict_table(model, table.with_columns(prediction=pl.lit(0.0)))
    assert old.equals(both)
    config = config_for("amount", rename={"size": "extent"})
    model = train(table, config, name="kept", repository=Repository(tmp_path)).model
    assert predict_table(model, table, keep=["size"])["size"].equals(table["size"])


def test_in_one_shape_a_row_is_bit_identical_whatever_its_neighbours(trained):
    session = Session.of(trained["regression"].model)
    rng = np.random.default_rng(0)
    first = session.missing_rows(16)
    second = session.missing_rows(16)
    for columns in (first, second):
        columns["size"][1:] = rng.normal(100, 1e6, (15, 1))
        columns["city"][1:] = rng.choice(["Rome", "?", ""], (15, 1)).astype(object)
    assert session.run(first).prediction[0] == session.run(second).prediction[0]


def test_metrics_are_those_of_evaluating_the_model_again(table, tmp_path):
    unseen = tables.every_kind(150, seed=1)
    stored = train(table, config_for("class"), name="again", repository=Repository(tmp_path), test=unseen).model
    published = stored.manifest.metrics["test"]
    assert set(published) == {"accuracy", "balanced_accuracy", "roc_auc", "log_loss", "brier", "ece"}
    measured = evaluate_table(stored, unseen)
    again = {name: measured["metrics"].pop(name) for name in published}
    assert (measured["rows"], again) == (150, pytest.approx(published, abs=1e-6))
    assert list(measured["metrics"]) == ["precision", "recall", "f1", "average_precision"]


def test_regression_is_learned_and_its_intervals_are_wide_enough(trained):
    metrics = trained["regression"].model.manifest.metrics
    assert set(metrics["test"]) == {"rmse", "mae", "r2"}
    assert metrics["interval_coverage"]["validation"] >= 0.9


# ─── no leakage ──────────────────────────────────────────────────────────────────────────────────────────────────────

ANYTHING = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-1e300, 1e300),
        "count": st.integers(-(2**53), 2**53),
        "member": st.none() | st.booleans(),
        "city": st.none() | st.text(max_size=8),
        "amount": st.floats(-1e6, 1e6),
        "class": st.sampled_from(["large", "small"]),
    }
)

OBJECTIVES = {
    "class": [
        {},
        {"class_weights": "balanced", "calibration": "affine"},
        {"loss": "focal", "calibration": "temperature"},
    ],
    "amount": [{}, {"target_transform": "log", "intervals": "constant"}, {"intervals": "quantiles"}],
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ANYTHING, min_size=30, max_size=30), target=st.sampled_from(["class", "amount"]))
def test_whatever_the_held_out_rows_hold_the_fitted_encoder_is_the_same_to_the_byte(rows, target):
    table = tables.every_kind(60).drop_nulls("when").sort("when")
    config = config_for(target, split_by_time="when")
    honest = prepare(table, config)
    held_out = len(honest.validation) + len(honest.test)
    keep = len(table) - held_out
    changed = [table.row(keep + i, named=True) | rows[i % len(rows)] for i in range(held_out)]
    poisoned = prepare(pl.concat([table[:keep], pl.DataFrame(changed, schema=table.schema)]), config)
    assert poisoned.encoder.fingerprint() == honest.encoder.fingerprint()
    assert save(poisoned.encoder.state_dict()) == save(honest.encoder.state_dict())
    assert poisoned.rules == honest.rules
    assert poisoned.decisions == honest.decisions
    assert poisoned.target.classes == honest.target.classes
    for fields in OBJECTIVES[target]:
        fitted = [Objective(prepared.target, ObjectiveConfig(**fields)) for prepared in (poisoned, honest)]
        assert save(fitted[0].head.state_dict()) == save(fitted[1].head.state_dict())
        if fitted[0].class_weights is not None:
            assert torch.equal(fitted[0].class_weights, fitted[1].class_weights)


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(ANYTHING, min_size=20, max_size=20), data=st.data())
def test_whatever_the_test_rows_hold_the_trained_and_calibrated_model_is_the_same_to_the_byte(rows, data):
    target = data.draw(st.sampled_from(["class", "amount"]))
    fields = data.draw(st.sampled_from(OBJECTIVES[target]))
    table = tables.every_kind(200).drop_nulls("when").sort("when")
    augment = {"noise": 0.1, "mixup": 0.2}
    overrides = {
        **tables.QUICK,
        "objective": fields,
        "augment": augment,
        "data": {"target": target, "split_by_time": "when"},
    }
    config = make_config(overrides=overrides)
    honest = prepare(table, config)
    keep = len(table) - len(honest.test)
    changed = [table.row(keep + i, named=True) | rows[i % len(rows)] for i in range(len(honest.test))]
    poisoned = prepare(pl.concat([table[:keep], pl.DataFrame(changed, schema=table.schema)]), config)
    assert not np.array_equal(poisoned.test.target, honest.test.target) or target == "class"
    cores, fits, decisions = zip(
        *(fit_network(p, config, torch.device("cpu")) for p in (honest, poisoned)), strict=True
    )
    assert save(cores[0].state_dict()) == save(cores[1].state_dict())
    assert decisions[0] == decisions[1]
    assert fits[0].best_epoch == fits[1].best_epoch


def test_calibration_is_fitted_on_validation_rows(table):
    config = config_for("amount")
    honest = prepare(table, config)
    other = replace(honest, validation=replace(honest.validation, target=honest.validation.target + 1000))
    widths = [float(fit_network(p, config, torch.device("cpu"))[0].head.above) for p in (honest, other)]
    assert widths[1] > 10 * widths[0]


def test_changed_training_rows_do_change_the_encoder():
    table = tables.every_kind(60)
    config = config_for("amount")
    changed = table.with_columns(pl.col("size") * 2)
    assert prepare(changed, config).encoder.fingerprint() != prepare(table, config).encoder.fingerprint()


# ─── parts and errors ────────────────────────────────────────────────────────────────────────────────────────────────


def test_tables_of_their_own_for_validation_and_test(table, tmp_path):
    prepared = prepare(table, config_for("amount"), test=tables.every_kind(50, seed=1))
    assert (len(prepared.train), len(prepared.validation), len(prepared.test)) == (320, 80, 50)
    both = prepare(table, config_for("amount"), validation=tables.every_kind(30, seed=2), test=table.head(40))
    assert (len(both.train), len(both.validation), len(both.test)) == (400, 30, 40)


def test_a_split_by_time_holds_out_the_latest_rows(table):
    dated = table.drop_nulls("when")
    prepared = prepare(dated, config_for("amount", split_by_time="when"))
    assert prepared.train.columns["when"].max() <= prepared.validation.columns["when"].min()
    assert prepared.validation.columns["when"].max() <= prepared.test.columns["when"].min()
    assert "trend" not in prepared.encoder.calendar["when"]


def test_after_a_split_by_time_validation_rows_are_in_its_order(table):
    dated = table.drop_nulls("when").sample(fraction=1.0, shuffle=True, seed=1)
    config = config_for("amount", split_by_time="when")
    for prepared in (prepare(dated, config), prepare(dated, config, validation=dated[:60], test=dated[60:90])):
        validation = prepared.validation
        assert (np.diff(validation.columns["when"]) >= 0).all()
        timestamps = dated["when"].str.to_datetime(time_zone="UTC").dt.timestamp("us")
        amount = dict(zip(timestamps, dated["amount"], strict=True))
        assert [amount[when] for when in validation.columns["when"]] == validation.target.tolist()


def test_a_split_needs_a_time_in_every_row(table):
    with pytest.raises(TableError, match=r"--split-by-time when: row .* holds no value"):
        prepare(table, config_for("amount", split_by_time="when"))
    with pytest.raises(TableError, match="needs a timestamp or number column; 'city' is a category"):
        prepare(table, config_for("amount", split_by_time="city"))


def test_a_split_by_group_keeps_groups_together_and_out_of_the_inputs(table):
    grouped = table.with_columns(pl.Series("customer", [f"c{i % 40}" for i in range(len(table))]))
    prepared = prepare(grouped, config_for("amount", group="customer"))
    assert "customer" not in {rule.name for rule in prepared.rules}
    assert any("rows of one 'customer' stay on one side" in decision for decision in prepared.decisions)
    assert len(prepared.train) % 10 == len(prepared.validation) % 10 == len(prepared.test) % 10 == 0
    with pytest.raises(TableError, match="'customre', which --group names: did you mean 'customer'"):
        prepare(grouped, config_for("amount", group="customre"))
    with pytest.raises(ConfigError, match="both --split-by-time and --group"):
        prepare(grouped, config_for("amount", group="customer", split_by_time="when"))


def test_a_column_that_gives_the_target_away_is_warned_about(table):
    leaky = table.with_columns((pl.col("amount") * 3).alias("invoice"))
    (warning,) = [d for d in prepare(leaky, config_for("amount")).decisions if "alone tells" in d]
    assert warning.startswith("'invoice'")
    assert "--drop invoice" in warning


def test_a_null_that_was_declared_is_one_in_the_column_to_split_along_too(table):
    dashed = table.with_columns(pl.Series("day", ["-", *map(str, range(len(table) - 1))]))
    with pytest.raises(TableError, match=r"--split-by-time day: row 1 holds no value"):
        prepare(dashed, config_for("amount", split_by_time="day", null=["-"]))


def test_a_column_named_like_an_output_is_refused_with_the_way_out(table):
    clash = table.rename({"size": "prediction"})
    with pytest.raises(TableError, match=r"prediction.*--drop.*--rename"):
        prepare(clash, config_for("amount"))
    renamed = prepare(clash, config_for("amount", rename={"prediction": "size"}))
    assert "size" in {rule.name for rule in renamed.rules}
    dropped = prepare(clash, config_for("amount", drop=["prediction"]))
    assert "prediction" not in {rule.name for rule in dropped.rules}


def test_a_loss_that_is_not_finite_stops_with_advice_and_publishes_nothing(table, tmp_path):
    repository = Repository(tmp_path)
    wild = make_config(
        overrides={"data": {"target": "amount"}, "optimizer": {"name": "sgd", "lr": 10.0}, "fit": {"clip": 1e30}}
    )
    with pytest.raises(TrainingError, match=r"--set optimizer\.lr=1"):
        train(table, wild, name="wild", repository=repository)
    assert repository.names() == []


def test_a_device_that_is_not_there_is_refused_before_the_table_is_read(tmp_path):
    config = make_config(overrides={"data": {"target": "y"}, "device": "cuda:63"})
    with pytest.raises(DeviceError, match="cuda:63 was demanded"):
        train(tmp_path / "absent.csv", config, name="x", repository=Repository(tmp_path))


def test_a_processor_without_bfloat16_is_told_before_the_table_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("rowcast.training.device._cpu_flags", lambda: frozenset({"avx2"}))
    config = make_config(settings=["fit.precision=bfloat16"], overrides={"data": {"target": "y"}, "device": "cpu"})
    with pytest.raises(DeviceError, match=r"fit\.precision=bfloat16: cpu has no instructions for it; use float32"):
        train("nowhere.csv", config, name="m", repository=Repository(tmp_path))


def test_what_learned_in_bfloat16_is_served_in_float32(table, tmp_path, monkeypatch):
    monkeypatch.setattr("rowcast.training.device._cpu_flags", lambda: frozenset({"avx512_bf16"}))
    both = {}
    for precision in ("float32", "bfloat16"):
        config = make_config(
            settings=[f"fit.precision={precision}"], overrides={**tables.QUICK, "data": {"target": "class"}}
        )
        both[precision] = train(table.drop_nulls("class"), config, name=precision, repository=Repository(tmp_path))
    losses = {name: one.model.manifest.metrics["validation"]["log_loss"] for name, one in both.items()}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.05)
    kinds = {i.data_type for i in onnx.load_from_string(both["bfloat16"].model.graph).graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in kinds


def test_several_fits_are_one_graph_of_which_the_first_is_the_fit_alone(table):
    rows = table.drop_nulls("amount")
    config = config_for("amount")
    several = config.model_copy(update={"fit": config.fit.model_copy(update={"seeds": 3})})
    prepared = prepare(rows, config)
    device = torch.device("cpu")
    alone, _, _ = fit_network(prepared, config, device)
    shares = []
    core, result, _ = fit_network(
        prepare(rows, several), several, device, lambda progress: shares.append(progress.done)
    )
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0) or result.stopped == "patience"
    first, second, third = core.network.networks
    for name, tensor in alone.network.state_dict().items():
        assert torch.equal(first.state_dict()[name], tensor)
    assert not torch.equal(first.layers[0].linear.weight, second.layers[0].linear.weight)
    assert not torch.equal(second.layers[0].linear.weight, third.layers[0].linear.weight)


def test_a_budget_is_for_all_fits_together(table):
    fields = {"seeds": 2, "budget_s": 1.0, "epochs": 10_000, "patience": 10_000}
    config = make_config(overrides={**tables.QUICK, "data": {"target": "class"}, "fit": fields})
    _, result, _ = fit_network(prepare(table.drop_nulls("class"), config), config, torch.device("cpu"))
    assert result.stopped == "budget"
    assert result.seconds < 5.0


def test_a_repository_that_cannot_be_written_is_refused_before_the_table_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is a file; choose another with --repository"):
        train(tmp_path / "absent.csv", config_for("y"), name="x", repository=Repository(tmp_path / "file" / "r"))


def test_a_loss_of_another_task_is_refused(table, tmp_path):
    config = make_config(overrides={"data": {"target": "class"}, "objective": {"loss": "mse"}})
    with pytest.raises(ConfigError, match=r"objective\.loss.*cross_entropy.*binary"):
        train(table, config, name="x", repository=Repository(tmp_path))


def test_the_same_seed_gives_the_same_graph_to_the_byte(table, tmp_path):
    graphs = [
        train(table.head(200), config_for("amount"), name="same", repository=Repository(tmp_path)).model.graph
        for _ in range(2)
    ]
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize("unit", [1e-150, 1e200])
def test_figures_of_a_target_in_an_extreme_unit_are_finite(unit):
    objective = Objective(Target("y", "regression", np.array([1.0, 3.0]) * unit), ObjectiveConfig())
    transform = objective.transform
    assert (transform.mean.item(), transform.scale.item()) == (pytest.approx(2 * unit), pytest.approx(unit))
    metrics = regression_metrics(np.array([1.0, 3.0]) * unit, np.array([1.0, 2.0]) * unit)
    assert metrics == {
        "rmse": pytest.approx(0.5**0.5 * unit),
        "mae": pytest.approx(0.5 * unit),
        "r2": pytest.approx(0.5),
    }


def test_what_understanding_the_table_took_is_taken_off_the_budget(table, tmp_path, monkeypatch):
    def slow(*args, **kwargs):
        return replace(prepare(*args, **kwargs), seconds=1000.0)

    monkeypatch.setattr("rowcast.training.stream.prepare.prepare", slow)
    fields = {"fit": {"epochs": 1000, "patience": 1000, "budget_s": 999.0}, "data": {"target": "class"}}
    trained = train(table, make_config(overrides={**tables.QUICK, **fields}), name="m", repository=Repository(tmp_path))
    assert (trained.fit.stopped, trained.fit.epochs) == ("budget", 1)


class _Clock:
    """Seconds that pass by being asked for: each reading is one after the last."""

    def __init__(self):
        self.monotonic = map(float, itertools.count()).__next__


def test_a_budget_leaves_the_same_to_the_epochs_however_many_rows_are_measured_after_them(table, tmp_path, monkeypatch):
    """Metrics run in large batches. They were guessed to take as long a row as the gate, which asks many one by one."""
    given = []

    def end(prepared, config, *rest, **others):
        given.append(config.fit.budget_s)
        raise TrainingError("the budget is known")

    monkeypatch.setattr("rowcast.training.train.fit_network", end)
    rows = table.drop_nulls("class").select("size", "class")
    config = make_config(overrides={**tables.QUICK, "fit": {"budget_s": 120.0}, "data": {"target": "class"}})
    for n_test in (GATE_ROWS, 20 * GATE_ROWS):
        for module in ("prepare", "train", "export.precheck"):
            monkeypatch.setattr(f"rowcast.training.{module}.time", _Clock())
        test = rows[np.arange(n_test) % len(rows)]
        with pytest.raises(TrainingError):
            train(rows, config, name="m", repository=Repository(tmp_path), test=test)
    assert given == [given[0], given[0]]
    assert 0.7 * 120.0 < given[0] < 120.0


def test_understanding_a_table_is_timed(table):
    assert prepare(table, make_config(overrides={**tables.QUICK, "data": {"target": "class"}})).seconds > 0.0


def test_a_budget_that_the_first_look_has_eaten_up_ends_the_fit_at_the_first_step(table, tmp_path):
    config = make_config(
        overrides={**tables.QUICK, "fit": {"epochs": 1000, "budget_s": 1e-6}, "data": {"target": "amount"}}
    )
    trained = train(table, config, name="hurried", repository=Repository(tmp_path))
    assert (trained.fit.stopped, trained.fit.epochs) == ("budget", 1)


def test_the_gate_of_a_very_wide_table_puts_several_hostile_values_in_a_row():
    columns = tuple(Column(name=f"c{i}", kind="number", nullable=True, median=1.0) for i in range(300))
    adversarial = adversarial_rows(Signature(task="regression", target="y", columns=columns))
    values = np.column_stack(list(adversarial.values()))
    assert values.shape == (1 + ADVERSARIAL_ROWS + 9, 300)
    for hostile in (np.inf, -np.inf, 1e308, 5e-324):
        assert ((values[1:-9] == hostile).sum(axis=0) == 1).all()
    assert (np.isnan(values[1:-9]).sum(axis=0) == 1).all()


# ─── large tables ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_look_scores_all_validation_rows_of_a_small_table_and_a_fair_few_of_a_large_one():
    def rows(count):
        return Batch(
            torch.arange(count).double()[:, None], torch.zeros(count, 0, dtype=torch.int64), torch.arange(count)
        )

    small, large = rows(LOOKED_AT_ROWS), rows(10 * LOOKED_AT_ROWS)
    assert looked_at(small, torch.Generator()) is small
    chosen = looked_at(large, torch.Generator().manual_seed(0))
    assert len(chosen) == len(chosen.target.unique()) == LOOKED_AT_ROWS
    assert torch.equal(chosen.features[:, 0].long(), chosen.target)
    assert torch.equal(chosen.target, looked_at(large, torch.Generator().manual_seed(0)).target)
    assert chosen.target.double().mean() == pytest.approx(5 * LOOKED_AT_ROWS, rel=0.02)


def test_names_that_look_like_a_row_are_names_where_the_model_knows_them(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    lines = [f"{a},{b},{a + b:.3f}" for a, b in rows]
    (tmp_path / "train.csv").write_text("\n".join(["2019,2020,y", *lines]))
    (tmp_path / "new.csv").write_text("\n".join(["2019,2020", *(line.rpartition(",")[0] for line in lines)]))
    (tmp_path / "other.csv").write_text("\n".join(["1999,2020", *(line.rpartition(",")[0] for line in lines)]))
    model = train(tmp_path / "train.csv", config_for("y"), name="years", repository=Repository(tmp_path / "r")).model
    assert predict_table(model, tmp_path / "new.csv").equals(predict_table(model, tmp_path / "train.csv"))
    with pytest.raises(TableError, match="the first line must hold the column names"):
        predict_table(model, tmp_path / "other.csv")
