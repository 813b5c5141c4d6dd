"""A network and a loss of one's own: through the same fit and gate, or refused in a line before the fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from rowcast.models.errors import ConfigError, ExportRefused
from rowcast.models.repository import Repository
from rowcast.models.summary import WEIGHTS_FILE, read_layers, summary_of
from rowcast.training.config import make_config
from rowcast.training.export.gate import check_parity
from rowcast.training.export.graph import OPSET, export
from rowcast.training.export.operators import OPERATORS
from rowcast.training.export.own import trace_at_any_size
from rowcast.training.export.trace import ROWS, Untranslated, trace
from rowcast.training.fit.own_loss import check_loss
from rowcast.training.fit_network import fit_network, signature_of
from rowcast.training.network.own import built
from rowcast.training.own import Own
from rowcast.training.predict import predict_table
from rowcast.training.prepare import prepare
from rowcast.training.train import train
from tests.support import tables


class Gated(nn.Module):
    """Two branches, one of which opens and shuts the other; a batch norm, and weights of its own."""

    def __init__(self, d_in, d_out):
        super().__init__()
        self.value, self.gate = nn.Linear(d_in, 16), nn.Linear(d_in, 16)
        self.norm, self.dropout = nn.BatchNorm1d(16), nn.Dropout(0.1)
        self.scale = nn.Parameter(torch.ones(16))
        self.last = nn.Linear(16, d_out)

    def forward(self, x):
        return self.last(self.dropout(self.norm(self.value(x))) * torch.sigmoid(self.gate(x)) * self.scale)


def plain(d_in, d_out):
    return nn.Sequential(nn.Linear(d_in, 16), nn.Softsign(), nn.Linear(16, d_out))


def fitted(tmp_path, *, target="amount", rows=300, **given):
    sections = {key: given.pop(key) for key in list(given) if isinstance(given[key], dict)}
    config = make_config(overrides={"data": {"target": target}, "fit": {"epochs": 2}, **sections})
    return train(tables.every_kind(rows), config, name="own", repository=Repository(tmp_path / "r"), **given)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("gated"), network=Gated, loss=F.smooth_l1_loss).model


def test_a_network_and_a_loss_of_ones_own_are_published_and_their_names_written_down(gated):
    assert gated.manifest.config["network"]["module"] == "tests.training.test_own.Gated"
    assert gated.manifest.config["objective"]["function"] == "torch.nn.functional.smooth_l1_loss"
    assert gated.manifest.parity["max_difference"] < 1e-5
    answers = predict_table(gated, tables.every_kind(50, seed=1))
    assert answers.columns == ["prediction", "lower", "upper"]
    assert answers["prediction"].is_finite().all()
    with pytest.raises(ConfigError, match=r"'network.module' names a function .* 'tests.training.test_own.Gated'"):
        train(
            tables.every_kind(50), make_config(file=gated.path / "config.toml"), name="x", repository=Repository("none")
        )


def test_a_summary_tells_the_layers_of_a_module_of_ones_own(gated):
    text = summary_of(gated)
    lines = [line.split() for line in text.splitlines()]
    assert ["module.value", "Linear", "[rows,", "16]"] in [line[:4] for line in lines]
    assert str(text).splitlines()[0] == "own:1  regression of 'amount' from 6 columns"
    assert [line[-1] for line in lines if line[:1] == ["module.norm"]] == ["32"]
    assert [line[-1] for line in lines if line[:1] == ["module.last"]] == ["51"]
    assert repr(text) == str(text)


@pytest.mark.slow
def test_classes_a_mean_loss_and_a_function_that_only_pytorchs_exporter_knows():
    config = make_config(overrides={"data": {"target": "class"}, "fit": {"epochs": 1}})
    prepared = prepare(tables.every_kind(200), config)
    own = Own(plain, F.cross_entropy)
    core, _, _ = fit_network(prepared, own.written_in(config), torch.device("cpu"), own=own)
    graph = export(core, signature_of(prepared, core))
    assert check_parity(core, graph, prepared.test.columns).labels_equal


def test_the_functions_of_the_docs_are_fitted(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text("utf-8")
    names = {"__name__": "docs"}
    for program in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(program, names)
    model = fitted(tmp_path, rows=100, network=names["Gated"], loss=names["asymmetric"]).model
    config = model.manifest.config
    assert (config["network"]["module"], config["objective"]["function"]) == ("docs.Gated", "docs.asymmetric")


class Odd(nn.Module):
    """What it is told to be wrong in."""

    def __init__(self, d_in, d_out, wrong):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(d_in, 4), Inner(wrong), nn.Linear(4, d_out)

    def forward(self, x):
        return self.last(self.inner(self.first(x)))


class Inner(nn.Module):
    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def forward(self, x):
        return self.wrong(x)


def attending(x):
    return x + x.mean(dim=0, keepdim=True)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            nn.Linear(2, 1),
            "must be a function of two widths that builds a module, .* got a Linear, which is built already",
        ),
        (lambda d_in: None, r"network\(7, 3\) must build a module, got TypeError: .*takes 1 positional argument"),
        (lambda d_in, d_out: "net", r"network\(7, 3\) must give a torch.nn.Module, got str"),
        (
            lambda d_in, d_out: nn.Linear(d_in, 1),
            r"must give \[rows, 3\] of floats .* here \[6, 3\], got \[6, 1\] of float32",
        ),
        (
            lambda d_in, d_out: nn.Linear(5, d_out),
            r"fails on \[6, 7\] in the module itself \(Linear\): RuntimeError: mat1",
        ),
        (
            lambda d_in, d_out: nn.Sequential(nn.Linear(d_in, 8), nn.Linear(9, d_out)),
            r"fails on \[6, 7\] in layer '1' \(Linear\): RuntimeError",
        ),
        (
            lambda d_in, d_out: Odd(d_in, d_out, attending),
            r"whatever its neighbours, got .* from layer 'inner' \(Inner\)",
        ),
        (lambda d_in, d_out: Odd(d_in, d_out, F.dropout), r"the same answer each time .* from layer 'inner' \(Inner\)"),
        (lambda d_in, d_out: Odd(d_in, d_out, lambda x: x / 0), r"must give finite numbers, got (nan|-?inf)"),
        (
            lambda d_in, d_out: nn.Linear(d_in, d_out).requires_grad_(False),
            "must have weights to learn, got outputs that",
        ),
    ],
)
def test_a_module_that_does_not_answer_as_it_must_is_refused_with_its_layer(network, message):
    with pytest.raises(ConfigError, match=message):
        built(network, 7, 3)


def by_hand(x):
    return torch.tensor([[float(v) for v in row] for row in x.detach()])


@pytest.mark.slow
def test_a_module_that_does_not_export_is_refused_before_the_fit_with_its_layer(tmp_path):
    reports = []
    with pytest.raises(ExportRefused, match=r"network= must be made of .*; layer 'inner' \(Inner\) is not: "):
        fitted(
            tmp_path,
            rows=60,
            network=lambda d_in, d_out: Odd(d_in, d_out, lambda x: by_hand(x) * x),
            report=reports.append,
        )
    assert (reports, list((tmp_path / "r").glob("**/*"))) == ([], [])


def test_a_module_that_reads_how_many_rows_there_are_is_not_written_down_for_the_number_of_the_example():
    class Sized(nn.Module):
        def forward(self, x):
            return torch.cat([x, torch.ones(len(x), 1)], dim=1)

    assert trace(Sized(), OPERATORS, {"x": torch.zeros(ROWS, 3)}, OPSET).outputs[0] is not None
    with pytest.raises(Untranslated, match="a size that hangs on the rows"):
        trace_at_any_size(Sized(), {"x": torch.zeros(ROWS, 3)}, OPSET)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o: o, r"must give a loss, got TypeError: .*takes 1 positional argument"),
        (lambda o, t: 0.5, "must give a tensor, got float"),
        (lambda o, t: (o - t)[:2], r"a loss for each row, \[6\], or their mean, \[\], got \[2\] of float32"),
        (lambda o, t: (o - t) / 0, "must give finite numbers, got"),
        (lambda o, t: t.square(), "must have a gradient, got a loss that does not hang on the outputs"),
        (lambda o, t: torch.round(o), r"finite gradient that is not 0 everywhere, got \[0.0"),
    ],
)
def test_a_loss_that_is_none_is_refused(loss, message):
    with pytest.raises(ConfigError, match=message):
        check_loss(loss, 0)


def test_a_loss_of_classes_gets_logits_and_class_indices():
    seen = []

    def loss(outputs, target):
        seen.append((tuple(outputs.shape), tuple(target.shape), target.dtype))
        return F.cross_entropy(outputs, target)

    check_loss(loss, 4)
    assert seen == [((6, 4), (6,), torch.int64)]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"objective": {"loss": "huber"}}, "'objective.loss' must be 'auto' beside a loss of one's own, got 'huber'"),
        ({"augment": {"mixup": 0.2}}, "'augment.mixup' must be 0 with a loss of one's own, got 0.2"),
    ],
)
def test_what_does_not_go_with_a_loss_of_ones_own_is_refused(tmp_path, sections, message):
    with pytest.raises(ConfigError) as refused:
        fitted(tmp_path, loss=F.mse_loss, **sections)
    assert message in str(refused.value)


def test_a_function_in_the_place_of_a_field_is_told_where_it_belongs():
    for field, argument in (("objective", "loss"), ("network", "network")):
        with pytest.raises(ConfigError, match=rf"must be a value and no function; .* is given as {argument}=\.\.\."):
            make_config(overrides={field: {"loss" if field == "objective" else "activation": F.mse_loss}})


def test_the_layers_are_stored_with_the_shapes_of_their_outputs_in_the_order_in_which_they_run(gated):
    layers, n_values, n_bytes = read_layers(gated.path / WEIGHTS_FILE)
    assert [(layer["name"], layer["kind"], layer["shape"], layer["parameters"]) for layer in layers[-6:]] == [
        ("module.value", "Linear", ["rows", 16], layers[-6]["parameters"]),
        ("module.norm", "BatchNorm1d", ["rows", 16], 32),
        ("module.dropout", "Dropout", ["rows", 16], 0),
        ("module.gate", "Linear", ["rows", 16], layers[-6]["parameters"]),
        ("module.last", "Linear", ["rows", 3], 51),
        ("module", "Gated", ["rows", 3], 16),
    ]
    assert 0 < n_bytes < (gated.path / WEIGHTS_FILE).stat().st_size
    assert n_values > sum(layer["parameters"] for layer in layers)
