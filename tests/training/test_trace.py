"""What a module computes is written down as it runs: the graph gives the same, or is not written at all."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn

from rowcast.training.config import make_config
from rowcast.training.export import graph as export_graph
from rowcast.training.export.gate import check_parity
from rowcast.training.export.graph import OPSET, Core, export
from rowcast.training.export.operators import OPERATORS
from rowcast.training.export.trace import ROWS, Untranslated, trace
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import network_of, signature_of
from rowcast.training.network.network import ACTIVATIONS
from rowcast.training.prepare import prepare
from tests.support import tables

WHOLE = torch.tensor([[-(2**62)], [-8], [-7], [-1], [0], [1], [2**62]])
NUMBERS = torch.tensor([[-1e30, 1.5], [-0.5, float("nan")], [0.0, 0.25], [3.0, -2.0], [0.1, 7.0]], dtype=torch.float64)


class Of(nn.Module):
    """A module of one function, and a weight that it may use."""

    def __init__(self, function):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.tensor([[0.5, -2.0], [3.0, 1.0]]))

    def forward(self, x):
        return self.function(self, x)


def asked(module, example, rows):
    """What the graph of a module gives for rows."""
    graph = trace(module, OPERATORS, {"x": example}, OPSET)
    model = ir.serde.serialize_model(ir.Model(graph, ir_version=10))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows.numpy()})[0]


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x // 7,
        lambda m, x: x % 7,
        lambda m, x: (x + 3) * 2 - x // 7 * 7,
        lambda m, x: torch.where(x == 2**62, -(2**63), x),
        lambda m, x: (x * 0.5).to(torch.float64),
        lambda m, x: x / 4,
    ],
)
def test_whole_numbers_are_computed_with_exactly(function):
    module = Of(function)
    assert asked(module, torch.zeros(ROWS, 1, dtype=torch.int64), WHOLE).tolist() == module(WHOLE).tolist()


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: 1.0 - x,
        lambda m, x: (x * 1e-300 - torch.tensor([1e-300], dtype=torch.float64)) * 1e300,
        lambda m, x: (x * 1e-300 + torch.tensor([1e-300], dtype=torch.float64)) * 1e300,
        lambda m, x: (1e-300 + x * 1e-300) * 1e300,
        lambda m, x: torch.where(torch.isnan(x), 9.0, x),
        lambda m, x: torch.maximum(x, m.weight[0].to(torch.float64)),
        lambda m, x: torch.minimum(x, torch.tensor([1e-9], dtype=torch.float64)) * 1e9,
        lambda m, x: x.clamp(-1e-9, 1e-9) * 1e9,
        lambda m, x: x[:, torch.tensor([1, 0, 1])],
        lambda m, x: x[..., -1:],
        lambda m, x: torch.cat([x, x[:1]])[:-1],
        lambda m, x: torch.cat([x[:, 2:], x, m.weight[:1].to(torch.float64).sum(-1, keepdim=True) * x[:, :1]], dim=1),
        lambda m, x: m.weight[torch.isnan(x).to(torch.int64)].flatten(1),
        lambda m, x: x.unsqueeze(-1).transpose(0, 1).transpose(0, 1).flatten(1),
        lambda m, x: x.unsqueeze(0).mean(dim=0),
        lambda m, x: torch.matmul(x.to(torch.float32), m.weight),
        lambda m, x: nn.functional.linear(x.to(torch.float32), m.weight, m.weight[0]),
        lambda m, x: nn.functional.dropout(x, 0.5, training=False),
        lambda m, x: nn.functional.batch_norm(x, m.weight[0].double(), m.weight[0].double() ** 2, eps=0.0),
    ],
)
def test_numbers_are_computed_with_as_pytorch_does(function):
    module = Of(function)
    for rows in (NUMBERS, NUMBERS[:1], torch.cat([NUMBERS] * 9)):
        with torch.no_grad():
            wanted = module(rows).numpy()
        assert np.array_equal(asked(module, torch.zeros(ROWS, 2, dtype=torch.float64), rows), wanted, equal_nan=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x + float(x.sum()),  # a value of the rows, which would be the example's for ever
        lambda m, x: x if bool((x > 0).all()) else -x,
        lambda m, x: torch.cumsum(x, 0),
        lambda m, x: x.sum(dtype=torch.float32),
        lambda m, x: nn.functional.softsign(x),
        lambda m, x: x[x > 0],
        lambda m, x: x[torch.tensor([0]), torch.tensor([0])],
        lambda m, x: x[0],
        lambda m, x: x.T,
        lambda m, x: x.flatten(0),
        lambda m, x: x % 0.5,
        lambda m, x: torch.add(x, x, alpha=2),
        lambda m, x: x.max(dim=1).values,
    ],
)
def test_what_is_not_known_is_not_written(function):
    with pytest.raises(Untranslated):
        trace(Of(function), OPERATORS, {"x": torch.zeros(ROWS, 2, dtype=torch.float64)}, OPSET)


def untrained(normalisation="none", activation="relu", target="class", *, intervals="quantiles"):
    """A core with fresh weights, its signature, and held-out rows."""
    network = {"members": 2, "layers": [8, 8], "normalisation": normalisation, "activation": activation}
    objective = {} if target == "class" else {"intervals": intervals, "target_transform": "log"}
    config = make_config(overrides={"data": {"target": target}, "objective": objective, "network": network})
    prepared = prepare(tables.every_kind(200), config)
    objective = Objective(prepared.target, config.objective)
    core = Core(prepared.encoder, network_of(prepared.encoder, objective, config), objective.head).eval()
    return core, signature_of(prepared, core), prepared.test.columns


@pytest.mark.slow
@pytest.mark.parametrize("normalisation", ["none", "layer", "batch"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_network_is_written_without_pytorchs_exporter(monkeypatch, activation, normalisation):
    monkeypatch.delattr(export_graph, "export_by_pytorch")
    core, signature, rows = untrained(normalisation, activation)
    assert check_parity(core, export(core, signature), rows).labels_equal


@pytest.mark.slow
def test_any_other_module_goes_through_pytorchs_exporter():
    core, signature, rows = untrained()
    core.network.layers[0].activation = nn.Softsign()
    with pytest.raises(Untranslated):
        trace(core, OPERATORS, examples(core), OPSET)
    assert check_parity(core, export(core, signature), rows).labels_equal


def examples(core):
    """Inputs of a core."""
    encoder = core.encoder
    return {
        "numbers": torch.zeros(ROWS, len(encoder.numbers), dtype=torch.float64),
        "timestamps": torch.zeros(ROWS, len(encoder.timestamps), dtype=torch.int64),
        "codes": torch.zeros(ROWS, len(encoder.categories), dtype=torch.int64),
    }
