"""Networks and losses of one's own, and mistyped arguments, from Python."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import rowcast
from rowcast import RowcastError
from rowcast.api.functions import functions_of


class Plain(nn.Sequential):
    def __init__(self, d_in, d_out):
        super().__init__(nn.Linear(d_in, 8), nn.ReLU(), nn.Linear(8, d_out))


@pytest.fixture(scope="module")
def own(frame):
    network = {"module": Plain, "d_number": 4}
    return rowcast.fit(frame.drop("large"), target="amount", network=network, loss=F.l1_loss, fit={"epochs": 1})


def test_a_module_and_a_loss_are_arguments_of_fit_and_their_names_are_kept(own, frame):
    config = own.stored.manifest.config
    assert (config["network"]["module"], config["network"]["d_number"]) == ("tests.api.test_functions.Plain", 4)
    assert config["objective"]["function"] == "torch.nn.functional.l1_loss"
    assert len(own.predict(frame)) == len(frame)


def test_a_summary_prints_layers_totals_and_the_time_of_a_row(own):
    lines = str(own.summary()).splitlines()
    assert lines[0] == "not published  regression of 'amount' from 6 columns"
    assert lines[2].split() == ["layer", "kind", "output", "parameters"]
    assert [line.split()[:2] for line in lines if "module" in line] == [
        ["module.0", "Linear"],
        ["module.1", "ReLU"],
        ["module.2", "Linear"],
    ]
    assert lines[-1].endswith("us a row in runs of 64 (medians of 200 and 50 runs on this machine)")
    assert repr(own.summary())[:13] == "not published"


def test_the_name_of_a_loss_is_that_field():
    assert functions_of({"layers": 64}, "huber").fields == {"network": {"layers": 64}, "objective": {"loss": "huber"}}
    assert functions_of(Plain, F.mse_loss) == functions_of({"module": Plain}, F.mse_loss).__class__(
        {}, Plain, F.mse_loss
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": 64}, r"network= must be a dict of fields, .* or a function of two widths .*, got 64"),
        ({"loss": 3}, "loss= must be the name of a loss, or a function of outputs and target, got 3"),
        (
            {"objective": {"loss": F.mse_loss}},
            r"'objective.loss' must be a value and no function; .* loss=\.\.\., an arg",
        ),
        ({"netwrok": {"layers": 64}}, r"no field 'netwrok' \(did you mean 'network'\?\)"),
        ({"optimizer": {"nam": "sgd"}}, r"no field 'optimizer.nam' \(did you mean 'name'\?\)"),
        ({"budgte": "60s"}, r"no field 'budgte' \(did you mean 'budget'\?\)"),
        ({"lr": 0.1}, r"no field 'lr' \(did you mean 'optimizer.lr'\?\)"),
        ({"loss": "hubre"}, r"got 'hubre' \(did you mean 'huber'\?\)"),
    ],
)
def test_what_is_no_network_no_loss_or_no_argument_is_told_with_what_was_meant(frame, arguments, message):
    with pytest.raises(RowcastError, match=message):
        rowcast.fit(frame, target="amount", **arguments)
