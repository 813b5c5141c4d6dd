"""What a process pays once, before its first fit, is in no fit's share of a budget."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
import torch

from rowcast.training.budget.first_use import pay_first_use
from rowcast.training.config import make_config
from rowcast.training.fit.loop import fit
from rowcast.training.fit.objective import Objective
from rowcast.training.fit.optimizer import OptimizerName
from rowcast.training.fit_network import network_of, to_batch
from rowcast.training.prepare import prepare
from rowcast.training.ranks.ranks import Ranks
from tests.support import tables

HEAD = """
import io, json, sys, time
from pathlib import Path
from torch import nn
from rowcast.models.repository import Repository
from rowcast.training.config import make_config
from rowcast.training.own import NOTHING_OWN, Own
from tests.support import tables
paid = []
def note(*_, **__):
    paid.append("torch._dynamo" in sys.modules)  # imported by the first optimizer of a process
def network(d_in, d_out):
    note()
    return nn.Linear(d_in, d_out)
table = tables.every_kind(120).drop("class")
def config_of(**fields):
    sections = {"data": {"target": "amount"}, "fit": {"epochs": 1, "budget_s": 5.0}, "network": {"members": 2}}
    return make_config(overrides={"preset": "quick", **sections, **fields})
repository = Repository(sys.argv[1])
"""
ENTRIES = {
    "train": """
from rowcast.training.train import train
train(table, config_of(), name="m", repository=repository, network=network)
""",
    "cross-validate": """
from rowcast.training.crossvalidate import cross_validate
cross_validate(table, config_of(), folds=2, own=Own(network))
""",
    "tune": """
from rowcast.training.tune.run import tune
config = config_of(fit={"epochs": 1}, tune={"space": {"network.layers": [[8], [16]]}})
tune(table, config, name="m", repository=repository, budget_s=8.0, trials=1, publish=False, say=note)
""",
    "a further process of tune": """
import rowcast.training.tune.worker as worker
from rowcast.training.tune.carry import write_rows
from rowcast.training.tune.rows import rows_of
config = config_of(fit={"epochs": 1}, tune={"space": {"network.layers": [[8], [16]]}})
folder = Path(sys.argv[1])
write_rows(rows_of(table, config, None), folder)
job = {"folder": str(folder), "config": config.model_dump(mode="json"), "study": "m", "wanted": 1, "threads": 1}
job |= {"storage": str(folder / "study.jsonl"), "until": time.time() + 60.0, "clock": {"last_s": 0.0, "trial_s": 9.0}}
sys.stdin = io.TextIOWrapper(io.BytesIO(json.dumps(job).encode() + b"\\n"))
worker._end_with_parent = lambda *_: None
of_clock = worker.Clock
worker.Clock = lambda *given, **shares: (note(), of_clock(*given, **shares))[1]
worker.try_out = lambda *_, **__: ""
worker.main()
""",
    "pre-train": """
from rowcast.training.pretrain import pretrain as room
of_fit = room._fit
room._fit = lambda *given: (note(), of_fit(*given))[1]
room.pretrain(table, config_of(data={}), name="m", repository=repository)
""",
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_process_loads_what_its_first_optimizer_needs_before_a_budget_is_shared(entry, tmp_path):
    code = HEAD + ENTRIES[entry] + "print(paid)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()[-1]
    assert "True" in found
    assert "False" not in found


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_it_builds_the_optimizer_of_the_fits_and_draws_nothing(name):
    before = torch.get_rng_state()
    pay_first_use(make_config(overrides={"optimizer": {"name": name, "l1": 0.1}}), torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


def test_half_as_much_again_as_a_look_is_kept_back_and_not_as_what_comes_before_it():
    config = make_config(overrides={**tables.QUICK, "data": {"target": "amount"}, "fit": {"budget_s": 100.0}})
    prepared = prepare(tables.every_kind(120).drop("class"), config)
    now = [0.0]

    class Late(Ranks):
        """Takes 8 s before the first look."""

        def check_batch(self, rows):
            now[0] += 8.0

    class Slow(Objective):
        """Takes 2 s for a look."""

        def score(self, *given):
            now[0] += 2.0
            return super().score(*given)

    objective = Slow(prepared.target, config.objective, None)
    parts = (prepared.train, prepared.validation)
    train, validation = (to_batch(part, prepared.encoder, objective, torch.device("cpu")) for part in parts)
    result = fit(
        network_of(prepared.encoder, objective, config),
        prepared.encoder,
        objective,
        train,
        validation,
        config.fit.model_copy(update={"epochs": 2}),
        config.optimizer,
        generator=torch.Generator().manual_seed(0),
        ranks=Late(),
        clock=lambda: now[0],
    )
    assert result.budget_s == 100.0 - 1.5 * 2.0
    assert [look.seconds for look in result.history] == [12.0, 14.0]
