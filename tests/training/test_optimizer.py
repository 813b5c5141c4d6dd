"""How weights move: optimizers and their fields, schedules, L1, and the averaging of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rowcast.models.errors import ConfigError
from rowcast.training.config import make_config
from rowcast.training.features.encoder import Encoded
from rowcast.training.fit.muon import Muon, orthogonalised
from rowcast.training.fit.optimizer import OptimizerConfig, WeightAverage, make_optimizer
from rowcast.training.fit.schedule import Schedule
from rowcast.training.network.network import Network, NetworkConfig


def small(**fields):
    torch.manual_seed(0)
    return Network(NetworkConfig(**{"members": 2, "layers": (8,), "dropout": 0.0} | fields), 0, 3, (), 1, n_binary=3)


def step_of(network, optimizer):
    rows = Encoded(torch.zeros(20, 0, 3), torch.randn(20, 3, 2))
    outputs = network(rows, torch.ones(20, 0, dtype=torch.int64))
    optimizer.zero_grad()
    (outputs - rows.binary[:, 0, 0].reshape(1, 20, 1)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("fields", "kind", "built"),
    [
        ({}, torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8}),
        ({"betas": (0.8, 0.9), "eps": 1e-6}, torch.optim.AdamW, {"betas": (0.8, 0.9), "eps": 1e-6}),
        ({"name": "adam", "betas": (0.8, 0.9)}, torch.optim.Adam, {"betas": (0.8, 0.9)}),
        ({"name": "sgd"}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ({"name": "sgd", "nesterov": False}, torch.optim.SGD, {"momentum": 0.9, "nesterov": False}),
        ({"name": "sgd", "momentum": 0.0}, torch.optim.SGD, {"momentum": 0.0, "nesterov": False}),
        ({"name": "rmsprop", "alpha": 0.9}, torch.optim.RMSprop, {"alpha": 0.9, "momentum": 0.0, "eps": 1e-8}),
        ({"name": "nadam", "eps": 1e-7}, torch.optim.NAdam, {"eps": 1e-7, "decoupled_weight_decay": True}),
        ({"name": "muon"}, Muon, {"momentum": 0.95, "nesterov": True, "betas": (0.9, 0.999)}),
    ],
)
def test_an_optimizer_is_built_with_its_own_fields_and_decay_for_layers_alone(fields, kind, built):
    network = small()
    optimizer = make_optimizer(network, OptimizerConfig(**fields))
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in built} == built
    decays = {group["weight_decay"]: [p.shape for p in group["params"]] for group in optimizer.param_groups}
    assert decays[3e-4] == [(6, 8)]
    assert set(decays) == {3e-4, 0.0}
    before = [parameter.clone() for parameter in network.parameters()]
    step_of(network, optimizer)
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["momentum=0.5"], "'optimizer.momentum' belongs to sgd and rmsprop and muon; optimizer.name is 'adamw'"),
        (["name=sgd", "betas=0.9,0.99"], "'optimizer.betas' belongs to adamw and adam and nadam and muon"),
        (
            ["name=adam", "alpha=0.9"],
            "'optimizer.alpha' belongs to rmsprop; optimizer.name is 'adam'; leave it out, or",
        ),
        (["name=rmsprop", "nesterov=true"], "'optimizer.nesterov' belongs to sgd and muon"),
        (["name=sgd", "momentum=0", "nesterov=true"], "'optimizer.nesterov' may be true where there is momentum"),
        (["step_at=0.5"], "'optimizer.step_at' belongs to step; optimizer.schedule is 'flat_cosine'"),
        (["factor=0.5"], "'optimizer.factor' belongs to step and plateau"),
        (["schedule=plateau", "climb=0.5"], "'optimizer.climb' belongs to one_cycle"),
        (["schedule=plateau", "plateau_patience=16"], "must be less than 'fit.patience', .* (16), got 16"),
        (["betas=0.9"], "'optimizer.betas' must be a list of 2 numbers at least 0 and less than 1"),
        (["name=sdg"], "got 'sdg' (did you mean 'sgd'?)"),
    ],
)
def test_a_field_that_the_optimizer_or_schedule_does_not_have_is_refused(settings, message):
    with pytest.raises(ConfigError) as refused:
        make_config(settings=[f"optimizer.{setting}" for setting in settings])
    for part in message.split(".*"):
        assert part in str(refused.value)


def rates(**fields):
    schedule = Schedule(OptimizerConfig(lr=1.0, warmup=0.0, **fields))
    return [round(schedule.rate(done), 4) for done in (0.0, 0.25, 0.5, 0.75, 1.0)]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1, 1]),
        ({}, [1, 1, 1, 0.5, 0]),
        ({"schedule": "cosine"}, [1, 0.8536, 0.5, 0.1464, 0]),
        ({"schedule": "step"}, [1, 1, 0.1, 0.01, 0.01]),
        ({"schedule": "step", "step_at": (0.25,), "factor": 0.5}, [1, 0.5, 0.5, 0.5, 0.5]),
        ({"schedule": "one_cycle", "climb": 0.5}, [0.04, 0.52, 1, 0.5, 0]),
        ({"schedule": "plateau"}, [1, 1, 1, 1, 1]),
    ],
)
def test_a_schedule_is_the_rate_by_the_share_of_the_fit_that_is_over(fields, wanted):
    assert rates(**fields) == wanted


def test_a_rate_climbs_to_its_peak_first():
    schedule = Schedule(OptimizerConfig(lr=1.0, warmup=0.1))
    assert [schedule.rate(done) for done in (0.0, 0.05, 0.1)] == [pytest.approx(v) for v in (1e-3, 0.5, 1.0)]


def test_a_plateau_lowers_the_rate_after_looks_without_a_better_score_and_not_for_ever():
    schedule = Schedule(OptimizerConfig(lr=1.0, warmup=0.0, schedule="plateau", plateau_patience=2, factor=0.1))
    seen = []
    for score in (3.0, 2.0, 2.0, 2.5, 1.9, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0):
        schedule.look(score)
        seen.append(round(schedule.rate(0.5), 6))
    assert seen == [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001, 0.001]


def test_l1_takes_the_rate_times_its_strength_off_each_layer_weight_and_stops_at_0():
    plain, pulled = small(), small()
    rows = torch.get_rng_state()
    for network, l1 in ((plain, 0.0), (pulled, 1.0)):
        torch.set_rng_state(rows)
        step_of(network, make_optimizer(network, OptimizerConfig(l1=l1, lr=0.2)))
    before, after = plain.layers[0].linear.weight, pulled.layers[0].linear.weight
    assert torch.equal(after, torch.sign(before) * (before.abs() - 0.2).clamp(min=0.0))
    assert 0 < int((after == 0).sum()) < after.numel()
    assert torch.equal(plain.heads.weight, pulled.heads.weight)


@pytest.mark.parametrize("shape", [(40, 8), (8, 40), (16, 16)])
def test_muon_steps_are_nearly_orthogonal(shape):
    step = orthogonalised(torch.randn(shape, generator=torch.Generator().manual_seed(0)) ** 3)
    values = torch.linalg.svdvals(step)
    assert step.shape == shape
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.3


def test_statistics_of_batches_are_averaged_as_the_weights_are():
    network = small(normalisation="batch")
    average = WeightAverage(network, 0.9)
    step_of(network, make_optimizer(network, OptimizerConfig()))
    now, kept = (of.layers[0].normalisation.running_mean.clone() for of in (network, average.network))
    average.update()
    after = average.network.layers[0].normalisation.running_mean
    assert torch.allclose(after, kept + (now - kept) * (1 - 1 / 11))
    assert not torch.equal(now, kept)


def test_a_batch_normalised_layer_is_a_fixed_scale_and_shift_once_trained():
    layer = small(normalisation="batch").layers[0].normalisation
    x = torch.randn(2, 500, 8) * 3 + 5
    for _ in range(100):
        out = layer(x)
    assert out.mean(dim=1).abs().max() < 1e-5
    assert (out.std(dim=1) - 1).abs().max() < 0.01
    layer.eval()
    assert torch.allclose(layer(x[:, :1]), layer(x)[:, :1])
    assert torch.allclose(layer(x), out, atol=1e-3)
    assert isinstance(layer.weight, nn.Parameter)
