"""Whatever the config and whatever the table, the graph answers as the network does, in the shapes of the contract."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import onnx
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from rowcast.models import Session, TableError
from rowcast.training.config import make_config
from rowcast.training.export.adversarial import adversarial_rows
from rowcast.training.export.gate import pass_gate
from rowcast.training.export.graph import export
from rowcast.training.fit_network import fit_network, signature_of
from rowcast.training.network.network import ACTIVATIONS
from rowcast.training.prepare import prepare

EXAMPLES = math.ceil(int(os.environ.get("FUZZ_CASES", "21")) / len(ACTIVATIONS))
"""Models of each activation: an export takes seconds."""
START = datetime(1990, 1, 1, tzinfo=UTC)
LEVELS = ["Oslo", "Zürich", "New York, NY", " ", "NA", "true", "0", "\x7f"]

KINDS = {
    "number": lambda rng, rows: rng.normal(size=rows) * 10.0 ** rng.integers(-30, 30),
    "heavy": lambda rng, rows: np.exp(rng.normal(size=rows) * 40),
    "integer": lambda rng, rows: rng.integers(-3, 4, rows),
    "boolean": lambda rng, rows: rng.random(rows) < 0.4,
    "category": lambda rng, rows: rng.choice(LEVELS, rows),
    "timestamp": lambda rng, rows: [
        (START + timedelta(minutes=int(m))).isoformat()
        for m in rng.integers(0, 60 * 24 * 365 * rng.integers(1, 40), rows)
    ],
}
TARGETS = {
    "number": lambda rng, rows: rng.normal(size=rows),
    "small": lambda rng, rows: 1e-9 * rng.normal(size=rows),
    "skewed": lambda rng, rows: rng.lognormal(10, 2, rows),
    "count": lambda rng, rows: rng.poisson(3.0, rows) * 7.5,
    "two": lambda rng, rows: np.resize(["no", "yes"], rows),
    "five": lambda rng, rows: np.resize(["a", "b", "c", "é", "0"], rows),
}
CLASSES = ("two", "five")


@st.composite
def objectives(draw, target):
    """An objective that fits the target."""
    config = {}
    if target in CLASSES:
        config["loss"] = draw(st.sampled_from(["auto", "cross_entropy", "focal", "ordinal"]))
        if config["loss"] == "ordinal":
            config["order"] = draw(st.permutations(["no", "yes"] if target == "two" else ["a", "b", "c", "é", "0"]))
        config["class_weights"] = draw(st.sampled_from(["none", "balanced", {"yes" if target == "two" else "c": 5.0}]))
        config["label_smoothing"] = draw(st.sampled_from([0.0, 0.2]))
        config["calibration"] = draw(st.sampled_from(["auto", "none", "temperature", "affine"]))
        if config["loss"] == "focal":
            config["focal_gamma"] = draw(st.sampled_from([0.5, 2.0]))
        return config
    positive = {"skewed": ["poisson", "gamma", "tweedie"], "count": ["poisson", "tweedie"]}.get(target, [])
    config["loss"] = draw(st.sampled_from(["auto", "mse", "mae", "huber", "pinball", *positive]))
    if config["loss"] not in positive:
        transforms = ["auto", "none", "standardise", "log"]
        config["target_transform"] = draw(st.sampled_from(transforms[: 4 if positive else 3]))
    config["intervals"] = draw(st.sampled_from(["auto", "none", "constant", "quantiles"]))
    if config["loss"] == "huber":
        config["huber_delta"] = draw(st.sampled_from([0.1, 3.0]))
    if config["loss"] == "pinball":
        config["quantile"] = draw(st.sampled_from([0.01, 0.5, 0.9]))
    return config


@st.composite
def tasks(draw):
    """A table and a config to train on it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.sampled_from([60, 300, 700]))
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=6))
    nulls = draw(st.sampled_from([0.0, 0.3]))
    columns = {}
    for i, kind in enumerate(kinds):
        values = pl.Series(KINDS[kind](rng, rows))
        columns[f"{kind} {i}"] = pl.select(pl.when(pl.Series(rng.random(rows) >= nulls)).then(values)).to_series()
    target = draw(st.sampled_from(list(TARGETS)))
    share = st.sampled_from([0.0, 0.0, 0.2])
    config = {
        "data": {"target": "target", "task": "regression" if target not in CLASSES else "auto"},
        "network": {
            "members": draw(st.sampled_from([1, 2, 8])),
            "layers": draw(st.lists(st.sampled_from([1, 5, 32, 64]), min_size=1, max_size=3)),
            "dropout": draw(share),
            "normalisation": draw(st.sampled_from(["none", "layer", "batch"])),
            "residual": draw(st.booleans()),
            "d_number": draw(st.sampled_from([1, 16])),
            "d_category": draw(st.sampled_from([1, 16])),
            "levels": draw(st.sampled_from(["embedding", "one_hot"])),
        },
        "features": {
            "numbers": draw(st.sampled_from(["bins", "standardise"])),
            "bins": draw(st.sampled_from([2, 48])),
            "min_level_rows": draw(st.sampled_from([10, 20])),
        },
        "optimizer": {"average": draw(st.sampled_from([0.0, 0.9]))},
        "augment": {name: draw(share) for name in ("noise", "swap", "missing", "mixup")},
        "objective": draw(objectives(target)),
        "fit": {"epochs": 2, "batch_size": 64, "seeds": draw(st.sampled_from([1, 1, 2]))},
        "seed": draw(st.integers(0, 100)),
    }
    return pl.DataFrame(columns | {"target": TARGETS[target](rng, rows)}), config


@pytest.mark.slow
@pytest.mark.timeout(60 * EXAMPLES + 300)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_config_on_any_table_passes_the_gate_and_keeps_the_contract(activation):
    # No shrinking: at seconds an example it would take the night, and the config alone tells much.
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(task=tasks())
    def check(task):
        table, fields = task
        config = make_config(overrides=fields | {"network": fields["network"] | {"activation": activation}})
        try:
            prepared = prepare(table, config)
        except TableError:  # no column of a tiny table may be left: nothing comes to the gate
            reject()
        core, _, _ = fit_network(prepared, config, torch.device("cpu"))
        signature = signature_of(prepared, core)
        graph = export(core, signature)
        pass_gate(core, graph, prepared.test.columns, prepared.train.columns, prepared.train.target)
        unit = 1.0 if signature.classes else float(np.std(prepared.train.target))
        check_contract(graph, adversarial_rows(signature), unit)

    check()


def check_contract(graph, rows, unit):
    """Names, types and shapes, and in every shape the same sane answers to adversarial rows.

    ``unit`` is the spread of the target: float32 has seven digits of it, and so a value near 0 has fewer of its own.
    """
    session = Session(graph, "cpu")
    signature = session.signature
    types = {"prediction": onnx.TensorProto.DOUBLE, "label": onnx.TensorProto.STRING}
    outputs = onnx.load_from_string(graph).graph.output
    assert [output.name for output in outputs] == list(signature.outputs)
    for output in outputs:
        kind = onnx.TensorProto.FLOAT if output.name == "probabilities" else types.get(output.name, types["prediction"])
        width = len(signature.classes) if output.name == "probabilities" else 1
        assert output.type.tensor_type.elem_type == kind
        assert [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim] == ["rows", width]

    answers = {}
    total = len(next(iter(rows.values())))
    for size in (1, 3, total):
        parts = [
            session.run({name: column[at : at + size].reshape(-1, 1) for name, column in rows.items()})
            for at in range(0, total, size)
        ]
        if signature.classes:
            answers[size] = np.concatenate([part.probabilities for part in parts])
            assert {label for part in parts for label in part.labels} <= set(signature.classes)
        else:
            fields = ("prediction", "lower", "upper")[: len(signature.outputs)]
            answers[size] = np.stack([np.concatenate([getattr(p, f) for p in parts]) for f in fields], axis=1)
    whole = answers[total]
    assert np.isfinite(whole).all()
    if signature.classes:
        assert np.abs(whole.sum(axis=1) - 1).max() <= 1e-5
        assert (whole >= 0).all()
    elif signature.intervals:
        assert (whole[:, 1] <= whole[:, 0]).all()
        assert (whole[:, 0] <= whole[:, 2]).all()
    for answer in answers.values():
        bound = 1e-6 if signature.classes else 1e-6 * np.maximum(max(1.0, unit), np.abs(whole))
        assert (np.abs(answer.astype(np.float64) - whole) <= bound).all()
