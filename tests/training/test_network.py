"""The network: shapes, members, and no tensor off its device."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.features.encoder import Encoded, FeaturesConfig, fit_encoder
from rowcast.training.fit.augment import Augment, AugmentConfig
from rowcast.training.fit.loop import Batch, FitConfig
from rowcast.training.fit.objective import Objective, ObjectiveConfig
from rowcast.training.fit.optimizer import OptimizerConfig, WeightAverage, make_optimizer
from rowcast.training.fit_network import network_of
from rowcast.training.network.embedding import CategoryEmbedding, OneHot
from rowcast.training.network.network import ACTIVATIONS, Dropout, Ensemble, Layer, MemberScales, Network, NetworkConfig

ROWS = 400


def encoded(rows, features, width, binary=0):
    return Encoded(torch.rand(rows, features, width), torch.rand(rows, binary, 2))


def codes(rows, levels=()):
    return torch.ones(rows, len(levels), dtype=torch.int64)


@pytest.mark.parametrize(
    ("features", "binary", "levels"), [(3, 2, (4, 5)), (3, 0, ()), (0, 0, (4, 5)), (0, 2, ()), (0, 1, (4,))]
)
@pytest.mark.parametrize("members", [1, 4])
def test_a_network_takes_any_mix_of_columns(features, binary, levels, members):
    network = Network(NetworkConfig(members=members, layers=(16, 8)), features, 6, levels, 3, n_binary=binary)
    outputs = network(encoded(7, features, 6, binary), codes(7, levels))
    assert outputs.shape == (members, 7, 3)


def test_members_differ_from_the_start_and_share_their_weights():
    torch.manual_seed(0)
    many, one = (Network(NetworkConfig(members=m), 5, 10, (), 1) for m in (8, 1))
    outputs = many(encoded(3, 5, 10), codes(3))
    assert len(torch.unique(outputs[:, 0, 0])) == 8
    count = [sum(p.numel() for p in network.parameters()) for network in (many, one)]
    assert count[0] < 1.25 * count[1]


def test_one_member_is_a_plain_network():
    network = Network(NetworkConfig(members=1, layers=(4,)), 3, 6, (), 1)
    assert network.scales is None
    assert {name for name, _ in network.layers.named_parameters()} == {"0.linear.weight", "0.linear.bias"}


def test_a_member_sees_every_column_at_one_scale_of_its_own_at_first():
    scales = MemberScales(4, [3, 1])
    seen = scales(torch.ones(1, 1, 4))[:, 0]
    assert seen.shape == (4, 4)
    assert torch.equal(seen[:, 0], seen[:, 2])
    assert len(torch.unique(seen[:, [0, 3]])) == 8


def test_a_residual_layer_adds_to_what_it_gets_where_the_widths_allow():
    config = NetworkConfig(residual=True, dropout=0.0)
    wide, same = Layer(4, 8, config), Layer(8, 8, config)
    for layer in (wide, same):
        torch.nn.init.zeros_(layer.linear.weight)
        torch.nn.init.zeros_(layer.linear.bias)
    x = torch.rand(2, 3, 8)
    assert torch.equal(same(x), x)
    assert not wide(x[..., :4]).any()


def test_a_normalised_layer_forgets_how_large_its_input_was():
    layer = Layer(6, 32, NetworkConfig(normalisation="layer", dropout=0.0))
    torch.nn.init.zeros_(layer.linear.bias)
    x = torch.rand(2, 3, 6)
    assert torch.allclose(layer(1000 * x), layer(x), atol=1e-3)


def test_networks_answer_together_as_the_members_of_one():
    networks = [Network(NetworkConfig(members=2, layers=(8,)), 2, 4, (3,), 3).eval() for _ in range(3)]
    together = Ensemble(networks)
    rows = encoded(5, 2, 4), codes(5, (3,))
    outputs = together(*rows)
    assert outputs.shape == (6, 5, 3)
    assert torch.equal(outputs[2:4], networks[1](*rows))
    together.keep_first()
    assert together(*rows).shape == (6, 5, 1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_trains(activation):
    network = Network(NetworkConfig(activation=activation, layers=(8,)), 2, 4, (), 1)
    network(encoded(6, 2, 4), codes(6)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_dropout_silences_the_same_nodes_for_every_member_and_none_in_evaluation():
    torch.manual_seed(0)
    dropout = Dropout(0.5)
    out = dropout(torch.ones(4, 100, 10))
    assert torch.equal(out[0], out[3])
    assert 0.4 < (out == 0).float().mean() < 0.6
    assert dropout.eval()(torch.ones(2, 3, 4)).sum() == 24


def test_an_unseen_level_settles_at_the_mean_of_the_levels():
    network = Network(NetworkConfig(d_category=2), 0, 4, (4,), 1)
    assert network.categories is not None
    with torch.no_grad():
        network.categories.weight.copy_(torch.tensor([[9.0, 9], [9, 9], [0, 1], [4, 5]]))
    network.categories.settle([torch.tensor([3, 0, 30, 10])])
    assert network.categories.weight.tolist() == [[9, 9], [1, 2], [0, 1], [4, 5]]


def test_one_hot_levels_are_a_node_each_and_none_for_a_code_that_no_training_row_held():
    levels = OneHot((3, 2))
    assert levels(torch.tensor([[0, 1], [2, 0]])).tolist() == [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]
    levels.settle([torch.tensor([5, 0, 3]), torch.tensor([1, 1])])
    assert levels(torch.tensor([[1, 1]])).tolist() == [[0, 0, 0, 0, 1]]


STEPS = {
    "mse": ("regression", {}),
    "mae": ("regression", {"loss": "mae", "target_transform": "log", "intervals": "none"}),
    "huber": ("regression", {"loss": "huber", "intervals": "constant"}),
    "pinball": ("regression", {"loss": "pinball", "quantile": 0.9}),
    "cross_entropy": ("binary", {"class_weights": "balanced", "label_smoothing": 0.1}),
    "focal": ("binary", {"loss": "focal"}),
    "poisson": ("regression", {"loss": "poisson"}),
    "gamma": ("regression", {"loss": "gamma", "intervals": "none"}),
    "tweedie": ("regression", {"loss": "tweedie", "intervals": "constant"}),
    "ordinal": ("binary", {"loss": "ordinal", "order": ("no", "yes")}),
}


@pytest.mark.parametrize(
    ("loss", "augmented", "optimizer"),
    [
        *itertools.product(STEPS, [False, True], ["adamw"]),
        *(("mse", True, name) for name in ("adam", "sgd", "rmsprop", "nadam", "muon")),
    ],
)
def test_a_training_step_makes_every_tensor_on_the_configured_device(loss, augmented, optimizer):
    """On the meta device a stray CPU tensor raises: what passes here runs on CUDA without one."""
    rng = np.random.default_rng(0)
    columns = {
        "x": (x := rng.normal(size=ROWS)),
        "near": x + 0.3 * rng.normal(size=ROWS),
        "two": np.array([0.0, 1.0] * (ROWS // 2)),
        "t": np.arange(ROWS) * 86_400_000_000,
        "c": np.array(["a", "b"] * (ROWS // 2), dtype=object),
    }
    kinds = {"x": "number", "near": "number", "two": "integer", "t": "timestamp", "c": "category"}
    rules = [ColumnRule(name, kind, False, frozenset()) for name, kind in kinds.items()]
    task, fields = STEPS[loss]
    apart = np.abs(columns["x"] - columns["near"])
    values = apart if task == "regression" else np.where(apart > np.median(apart), "yes", "no").astype(object)
    encoder = fit_encoder(columns, rules, FeaturesConfig(), values)
    classes = () if task == "regression" else ("no", "yes")
    objective = Objective(Target("y", task, values, classes), ObjectiveConfig(**fields))
    config = OptimizerConfig(name=optimizer)
    network = network_of(encoder, objective, Config())
    assert encoder.oblique is not None
    assert encoder.n_binary == 1

    numbers, timestamps, levels = (tensor.to("meta") for tensor in encoder.raw(columns))
    encoder, network = encoder.to("meta"), network.to("meta")
    objective.head.to("meta")
    batch = Batch(encoder.derive(numbers, timestamps), levels, objective.encode(values).to("meta"))
    share = 0.1 if augmented else 0.0
    augment = Augment(AugmentConfig(noise=share, swap=share, missing=share, mixup=share), batch, len(classes))
    stepper, average = make_optimizer(network, config), WeightAverage(network, config.average)
    rows = augment(batch)
    step = objective.loss(network(encoder.encode(rows.features), rows.codes), rows.target)
    step.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), FitConfig().clip)
    stepper.step()
    average.update()
    outputs = average.network(encoder.encode(batch.features), batch.codes)
    assert step.device.type == "meta"
    assert objective.head(outputs).device.type == "meta"
    assert objective.score(outputs, batch.target).device.type == "meta"


def test_the_default_config_is_valid():
    assert Config().network.members == 8


def test_gradients_of_levels_are_the_same_bits_on_several_threads():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 50, (4096, 12), generator=generator)
    table = CategoryEmbedding([50] * 12, 8)
    weights = torch.randn(4096, 96, generator=generator)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        found = set()
        for _ in range(10):
            table.zero_grad()
            (table(codes) * weights).sum().backward()
            found.add(table.weight.grad.numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1
