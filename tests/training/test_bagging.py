"""Fits that each leave out a fold: nothing of it reaches them, and all answer together."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

import rowcast
from rowcast.models import Repository, Session
from rowcast.models.errors import ConfigError, ModelRefused, RowcastError, TableError, TrainingError
from rowcast.training.bagging.core import FoldedCore, networks_of
from rowcast.training.bagging.fit import fit_bag
from rowcast.training.bagging.plan import check_folds, plan_of
from rowcast.training.bagging.prepare import bag_of, open_bag
from rowcast.training.bagging.rounds import seconds_of_round
from rowcast.training.bagging.select import chosen_members, most_members
from rowcast.training.bagging.told import told_once
from rowcast.training.bagging.unseen import outputs_of_fold, to_all
from rowcast.training.config import make_config
from rowcast.training.crossvalidate import cross_validate
from rowcast.training.data.split import Split
from rowcast.training.export.gate import check_parity
from rowcast.training.export.graph import export
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import fit_network, signature_of
from rowcast.training.own import NOTHING_OWN
from rowcast.training.predict import metrics_of, predict_columns
from rowcast.training.prepare import open_table
from rowcast.training.ranks.ranks import ALONE
from rowcast.training.train import train
from tests.support import tables

CPU = torch.device("cpu")


def config_for(target, folds=3, fit=None, **more):
    data = {"target": target, **more.pop("data", {})}
    return make_config(
        overrides={**tables.QUICK, **more, "data": data, "fit": {"epochs": 2, "folds": folds, **(fit or {})}}
    )


def opened(table, config, **more):
    given = {"validation": None, "test": None, "start": None, "own_network": False, "ranks": ALONE}
    return open_bag(table, config, **given | more)


@pytest.fixture(scope="module")
def table():
    return tables.every_kind(240)


@pytest.fixture(scope="module")
def regression(table):
    """A bag and what its fits gave."""
    config = config_for("amount")
    bag = opened(table, config)
    return bag, config, fit_bag(bag, config, CPU, own=NOTHING_OWN)


def alone(bag, config, fold):
    """The fit of a fold as it is without the others."""
    core, _, _ = fit_network(bag.folds[fold], config, CPU, first=fold, calibrated=False)
    return core


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


@settings(max_examples=8, deadline=None)
@given(
    rows=st.lists(ANYTHING, min_size=20, max_size=20),
    target=st.sampled_from(["class", "amount"]),
    fold=st.integers(0, 2),
)
def test_whatever_the_rows_of_a_fold_hold_its_fit_is_the_same_to_the_byte(rows, target, fold):
    table = tables.every_kind(120)
    config = config_for(target, fit={"epochs": 1})
    whole, values = open_table(table, config)
    place, test = np.arange(100), np.arange(100, 120)
    plan, how = plan_of(whole.take(place), replace(values, values=values.values[place]), config, 3)
    changed = table.rows(named=True)
    for i, row in enumerate(plan[fold].test):
        changed[row] = changed[row] | rows[i % len(rows)]
    bags = []
    for rows_of in (table, pl.DataFrame(changed, schema=table.schema)):
        whole, values = open_table(rows_of, config)
        bags.append(bag_of(whole, values, place, plan, how, config, held_out=test))
    fronts, networks = [], []
    for bag in bags:
        core = alone(bag, config, fold)
        fronts.append(core.encoder.fingerprint())
        networks.append(save(core.network.state_dict()))
        assert bag.folds[fold].rules == bags[0].folds[fold].rules
    assert fronts[0] == fronts[1]
    assert networks[0] == networks[1]
    others = [bag.folds[(fold + 1) % 3].encoder.fingerprint() for bag in bags]
    assert others[0] != others[1] or bags[0].train.columns["size"].tolist() == bags[1].train.columns["size"].tolist()


def test_every_row_is_left_out_once_and_no_fit_sees_the_rows_of_its_fold(regression):
    bag, _, bagged = regression
    assert sorted(np.concatenate([split.test for split in bag.plan])) == list(range(len(bag.train)))
    for split in bag.plan:
        parts = [set(split.train), set(split.validation), set(split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(bag.train)
    assert (len(bag.train), len(bagged.bag.validation), len(bag.test)) == (192, 192, 48)


def test_validation_metrics_are_those_of_the_fit_that_has_never_seen_a_row(regression):
    bag, config, bagged = regression
    said = []
    for fold, prepared in enumerate(bag.folds):
        core = alone(bag, config, fold)
        with torch.no_grad():
            raw = core.raw_output(*core.inputs(prepared.test.columns))
        said.append(core.head.transform(raw[:, 0]).numpy())
    assert np.abs(np.concatenate(said) - bagged.answers.prediction).max() < 1e-6
    rows = np.concatenate([split.test for split in bag.plan])
    assert np.array_equal(bagged.bag.validation.target, bag.train.target[rows])


# ─── one graph ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_graph_answers_with_the_mean_of_all_folds(regression):
    bag, config, bagged = regression
    session = Session(export(bagged.core, signature_of(bag, bagged.core)), "cpu")
    together = predict_columns(session, bag.test.columns).prediction
    apart = []
    for fold in range(3):
        core = alone(bag, config, fold)
        with torch.no_grad():
            apart.append(core.head.transform(core.raw_output(*core.inputs(bag.test.columns))[:, 0]).numpy())
    assert np.abs(np.mean(apart, axis=0) - together).max() < 1e-5
    assert len({front.fingerprint() for front in bagged.core.fronts}) == 3
    assert len(networks_of(bagged.core)) == 3


def test_means_of_counts_are_put_into_one_unit(table):
    config = config_for("count", folds=2, objective={"loss": "poisson"})
    bag = opened(table, config)
    bagged = fit_bag(bag, config, CPU, own=NOTHING_OWN)
    cores = [bagged.core, *(alone(bag, config, fold) for fold in range(2))]
    with torch.no_grad():
        said = [core.head.link(core.raw_output(*core.inputs(bag.test.columns))[:, 0]) for core in cores]
    together, *apart = said
    assert float((torch.stack(apart).mean(dim=0) / together - 1.0).abs().max()) < 1e-6
    assert float(bagged.core.shift[0]) != float(bagged.core.shift[1])


def with_zero(table, config, zero):
    """A bag of positive amounts, of which the row at ``zero`` is 0; None: no row is."""
    is_zero = pl.int_range(pl.len()) == (-1 if zero is None else zero)
    amount = pl.when(is_zero).then(0.0).otherwise(pl.col("amount").abs() + 0.1)
    return opened(table.drop("class").with_columns(amount=amount), config)


@pytest.mark.parametrize("intervals", ["constant", "quantiles"])
def test_folds_with_and_without_a_target_of_0_are_put_into_one_logarithm(table, intervals):
    config = config_for("amount", objective={"target_transform": "log", "intervals": intervals})
    before = with_zero(table, config, None)
    zero = int(np.flatnonzero(table["amount"].abs() + 0.1 == before.folds[1].test.target[0])[0])
    bag = with_zero(table, config, zero)
    bagged = fit_bag(bag, config, CPU, own=NOTHING_OWN)
    cores = [alone(bag, config, fold) for fold in range(3)]
    shifts = [core.head.transform.shift for core in cores]
    assert (shifts[1], max(shifts), bagged.core.head.transform.shift) == (0.0, 1.0, 1.0)
    for fold, core in enumerate(cores):
        inputs = core.fronts[0].inputs(bag.test.columns)
        with torch.no_grad():
            own = core.network(core.encoder.encode(core.encoder.derive(*inputs[:2])), inputs[2]).to(torch.float64)
            put = bagged.core.outputs(fold, *inputs)
        own, common = own * core.head.transform.scale + core.head.transform.mean, bagged.core.head.transform
        amounts = torch.exp(own[: len(put)]) - shifts[fold]
        assert float((torch.exp(put * common.scale + common.mean) - 1.0 - amounts).abs().max()) < 1e-5
    assert save(cores[1].network.state_dict()) == save(alone(before, config, 1).network.state_dict())
    graph = export(bagged.core, signature_of(bag, bagged.core))
    check_parity(bagged.core, graph, bag.test.columns)
    assert np.isfinite(predict_columns(Session(graph, "cpu"), bag.test.columns).prediction).all()


def test_the_logarithm_of_one_more_holds_of_any_size(table):
    config = config_for("amount", objective={"target_transform": "log"})
    without = with_zero(table, config, None)
    zero = int(np.flatnonzero(table["amount"].abs() + 0.1 == without.folds[0].test.target[0])[0])
    bag = with_zero(table, config, zero)
    core = FoldedCore([alone(bag, config, 0)], Objective(bag.target, config.objective).head)
    assert core.of_other_logs == [True]
    logs = torch.tensor([-1e300, -800.0, -1.0, 0.0, 3.0, 800.0, 1e300], dtype=torch.float64)
    put = core._of_one_more(logs) * core.head.transform.scale + core.head.transform.mean
    small = np.log1p(np.exp([-1.0, 0.0, 3.0])).tolist()
    assert put.tolist() == pytest.approx([0.0, 0.0, *small, 800.0, 1e300])


def test_folds_may_know_other_columns_levels_and_sentinels(table):
    late = np.arange(240) >= 160  # the rows of the last fold
    odd = table.with_columns(
        pl.Series("seldom", np.where(late, np.arange(240) % 2, 0)),
        pl.Series("depth", np.where(~late & (np.arange(240) % 9 == 0), -999.0, np.arange(240) % 7 + 0.5)),
        pl.Series("town", [f"{'new' if gone else 'old'}{i % 4}" for i, gone in enumerate(late)]),
        pl.Series("note", [f"word{i % 5} word{i % 3} {i}" for i in range(240)]),
    )
    config = config_for("class", fit={"epochs": 1})
    whole, target = open_table(odd, config)
    blocks = np.array_split(np.arange(210), 3)
    plan = []
    for i in range(3):
        rest = np.concatenate([block for k, block in enumerate(blocks) if k != i])
        plan.append(Split(rest[rest % 5 != 0], rest[rest % 5 == 0], blocks[i]))
    bag = bag_of(whole, target, np.arange(210), plan, "in blocks", config, held_out=np.arange(210, 240))
    known = [{rule.name for rule in fold.rules} for fold in bag.folds]
    assert ["seldom" in names for names in known] == [True, True, False]
    assert any("'seldom' is dropped" in decision and decision.startswith("in fold 3: ") for decision in bag.decisions)
    levels = [set(fold.encoder.vocabularies["town"]) for fold in bag.folds]
    assert levels[2] < levels[0]
    town = next(column for column in signature_of(bag, alone(bag, config, 0)).columns if column.name == "town")
    assert set(town.levels) == set.union(*levels)
    bagged = fit_bag(bag, config, CPU, own=NOTHING_OWN)
    graph = export(bagged.core, signature_of(bag, bagged.core))
    assert check_parity(bagged.core, graph, bag.test.columns).labels_equal


@pytest.fixture(scope="module")
def published(table, tmp_path_factory):
    repository = Repository(tmp_path_factory.mktemp("repository"))
    return repository, train(table, config_for("class", fit={"seeds": 2}), name="m", repository=repository)


def test_a_published_model_tells_its_folds(published, table):
    _, trained = published
    manifest = trained.model.manifest
    assert trained.summary()["rows"] == {"train": 192, "validation": 192, "test": 48}
    assert [fold["left_out"] for fold in manifest.data["folds"]] == [64, 64, 64]
    assert (
        sum(
            decision.startswith("3 folds of 192 rows at random, with every class spread")
            for decision in manifest.decisions
        )
        == 1
    )
    assert len(trained.fit.fits) == 3
    again = predict_columns(Session.of(trained.model, "cpu"), opened(table, config_for("class")).test.columns)
    test = metrics_of(again, opened(table, config_for("class")).test.target, manifest.signature.classes)
    assert manifest.metrics["test"]["log_loss"] == pytest.approx(test["log_loss"])
    with pytest.raises(ModelRefused, match="has one for each of its folds"):
        rowcast.fit(table, target="class", start_from=trained.model.path, verbose=False)


def test_test_rows_are_those_of_a_fit_without_folds(table):
    from rowcast.training.prepare import prepare

    config = config_for("class")
    single = prepare(table, config)
    assert np.array_equal(opened(table, config).test.target, single.test.target)


def test_it_is_as_far_to_all_fits_as_rows_are_left_out_by_few_of_them():
    rows = np.arange(40)
    blocks = np.array_split(rows, 4)

    def left_out_by(fits):
        """Each row is in a fold, and among the rows by which so many other fits stop."""
        stops = [np.concatenate([blocks[(i + k) % 4] for k in range(1, fits)] or [rows[:0]]) for i in range(4)]
        return [
            Split(np.setdiff1d(rows, np.concatenate([block, stop])), stop, block)
            for block, stop in zip(blocks, stops, strict=True)
        ]

    assert to_all(left_out_by(2)) == pytest.approx((1 / 2 - 1 / 4) / (1 - 1 / 2))
    assert to_all(left_out_by(4)) == pytest.approx(0.0)
    assert to_all(left_out_by(1)) == 0.0


def test_in_time_each_fold_is_answered_by_fits_on_rows_before_it(table):
    rows = table.with_columns(day=pl.int_range(240), times=pl.int_range(240) % 3)
    config = config_for("amount", data={"split_by_time": "day", "weight": "times"})
    bag = opened(rows, config)
    for split in bag.plan:
        assert split.train.max() < split.validation.min() < split.validation.max() < split.test.min()
    bagged = fit_bag(bag, config, CPU, own=NOTHING_OWN)
    kept = len(bagged.bag.folds)
    assert len(bagged.bag.validation) == sum(len(split.test) for split in bag.plan[3 - kept :])
    assert len(bagged.core.fronts) == kept


def test_groups_stay_in_one_fold_and_a_column_may_name_folds(table):
    rows = table.with_columns(pl.Series("customer", [f"c{i % 12}" for i in range(240)]))
    for flag in ("group", "fold"):
        config = config_for("amount", data={flag: "customer"})
        plan, how = plan_of(*open_table(rows, config), config, 3)
        assert how == "with all rows of one 'customer' in one fold"
        for split in plan:
            parts = [set(rows["customer"].to_numpy()[part]) for part in (split.train, split.validation, split.test)]
            assert sum(map(len, parts)) == len(set.union(*parts)) == 12
        assert "customer" not in opened(rows, config).train.columns


def test_a_fit_that_was_killed_in_a_later_fold_goes_on_to_the_same_bits(table, tmp_path):
    config = config_for("amount", folds=2)

    class Killed(Exception):
        pass

    def kill(progress):
        if progress.done > 0.5:
            raise Killed

    repository, kept = Repository(tmp_path / "r"), {"checkpoint": tmp_path / "c", "name": "m"}
    with pytest.raises(Killed):
        train(table, config, repository=repository, callbacks=[kill], **kept)
    trained = train(table, config, repository=repository, resume=True, **kept)
    whole = train(table, config, name="w", repository=repository)
    weights = [one.model.manifest.files["weights.safetensors"] for one in (trained, whole)]
    assert weights[0] == weights[1]


def test_a_callback_that_ends_a_fold_leaves_those_before_it(table, tmp_path):
    def end(progress):
        return progress.done > 0.5

    trained = train(table, config_for("amount", folds=2), name="m", repository=Repository(tmp_path), callbacks=[end])
    assert trained.summary()["rows"] == {"train": 192, "validation": 96, "test": 48}
    assert trained.summary()["stopped"] == "interrupted"
    assert any(decision.startswith("1 of 2 folds were fitted") for decision in trained.summary()["decisions"])


@pytest.mark.parametrize(("target", "normalisation"), [("class", "batch"), ("amount", "none")])
def test_what_serving_costs_is_a_setting_and_the_best_members_of_each_fold_answer(table, target, normalisation):
    network = {"members": 4, "layers": [8], "normalisation": normalisation}
    config = config_for(target, network=network, fit={"seeds": 2, "max_members": 11})
    bag = opened(table, config)
    bagged = fit_bag(bag, config, CPU, own=NOTHING_OWN)
    kept = [len(outputs_of_fold(bagged.core, fold, bag.test)) for fold in range(3)]
    assert kept[0] in (1, 2, 3)
    assert kept == [kept[0]] * 3
    said = next(decision for decision in bagged.decisions if decision.startswith("of 8 members of each of 3 folds"))
    assert f" {kept[0]} answer, chosen by rows that they have not seen" in said
    assert check_parity(bagged.core, export(bagged.core, signature_of(bag, bagged.core)), bag.test.columns)


def test_members_are_chosen_by_the_rows_of_their_fold_and_say_what_they_said_before(table):
    config = config_for("amount", network={"members": 4, "layers": [8]})
    bag = opened(table, config)
    cores = [alone(bag, config, fold) for fold in range(3)]
    objective = Objective(bag.target, config.objective)
    whole = FoldedCore(cores, objective.head)
    before = [outputs_of_fold(whole, fold, prepared.test) for fold, prepared in enumerate(bag.folds)]
    target = [objective.encode(prepared.test.target) for prepared in bag.folds]
    best = [
        min(range(4), key=lambda i, said=said, y=y: float(objective.score(said[[i]], y)))
        for said, y in zip(before, target, strict=True)
    ]
    fewer = FoldedCore(chosen_members(cores, bag, objective, 1, 0)[0], objective.head)
    for fold, prepared in enumerate(bag.folds):
        said = outputs_of_fold(fewer, fold, prepared.test)
        assert len(said) == 1
        assert float((said - before[fold][[best[fold]]]).abs().max()) < 1e-6


def test_what_a_row_may_take_bounds_members_by_what_is_measured(table, monkeypatch):
    monkeypatch.setattr("rowcast.training.bagging.select._microseconds", lambda *args: 100.0 + 10 * args[-1])
    config = config_for("class", fit={"seeds": 3, "max_row_us": 145.0})
    assert most_members(opened(table, config), config, NOTHING_OWN) == 4
    assert most_members(opened(table, config), with_fit(config, max_row_us=200.0), NOTHING_OWN) == 6
    with pytest.raises(
        ConfigError, match="at least, 110 us with one member for each of 3 folds on this machine, got 1"
    ):
        most_members(opened(table, config), with_fit(config, max_row_us=1.0), NOTHING_OWN)


def test_a_bound_that_no_member_of_each_fold_can_keep_is_refused(table):
    for field, value, refused in (
        (
            "max_members",
            2,
            "'fit.max_members' must be at least 3, a member for each of 3 folds, got 2: use fewer folds",
        ),
        ("max_row_us", 0.5, "'fit.max_row_us' must be what a row alone takes at least"),
    ):
        config = config_for("class", fit={field: value})
        with pytest.raises(ConfigError, match=refused):
            fit_bag(opened(table, config), config, CPU, own=NOTHING_OWN)
    with pytest.raises(ConfigError, match="are for a fit with folds: add --folds"):
        config_for("class", folds="none", fit={"max_members": 8})


def with_fit(config, **fields):
    return config.model_copy(update={"fit": config.fit.model_copy(update=fields)})


def test_the_python_api_takes_folds(table):
    model = rowcast.fit(table, target="amount", folds=2, preset="quick", fit={"epochs": 1}, verbose=False)
    assert model.stored.manifest.config["fit"]["folds"] == 2


# ─── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "more", "refused"),
    [
        ({}, {"validation": "v.csv"}, "so it does not go with --validation"),
        ({"data": {"split": "part"}}, {}, "so it does not go with --split part"),
        ({"fit": {"refit": True}}, {}, "leave out --refit"),
        ({}, {"start": object()}, "so --folds does not go with --from"),
        ({}, {"own_network": True}, "a network of one's own is fitted once"),
        ({}, {"ranks": SimpleNamespace(size=2)}, "under torchrun leave out --folds"),
    ],
)
def test_what_does_not_go_with_folds_is_refused_before_the_table_is_read(fields, more, refused):
    given = {"validation": None, "start": None, "own_network": False, "ranks": ALONE}
    with pytest.raises(ConfigError, match=refused):
        check_folds(config_for("class", **fields), **given | more)


def test_one_fold_is_none_and_cross_validation_has_its_own(table):
    with pytest.raises(ConfigError, match=r"'fit.folds' must be .*2.*got 1"):
        config_for("class", folds=1)
    with pytest.raises(ConfigError, match=r"'fit.folds' must be .none. for cross-validation"):
        cross_validate(table, config_for("class"))


@pytest.mark.parametrize(
    ("column", "data", "refused"),
    [
        (
            [["a", "b"][i > 4] for i in range(60)],
            {"target": "own"},
            r"^every class needs 6 rows at least.*6 folds divide",
        ),
        ([f"g{i % 6}" for i in range(60)], {"group": "own"}, "^6 folds by group need 6 groups at least"),
        (
            [f"g{i % 6}" for i in range(60)],
            {"fold": "own"},
            "^--folds 6 with --fold own needs 6 different values there",
        ),
        (
            [i // 7 for i in range(60)],
            {"split_by_time": "own"},
            "^6 folds by time need 8 different times, two before the first fold, .* holds 7; .* 6 folds divide",
        ),
        (
            list(range(60)),
            {"split_by_time": "own"},
            "^fold 1 has 7 rows before it, and needs 10, .* use fewer folds; 6 folds divide",
        ),
    ],
)
def test_more_folds_than_rows_of_a_class_groups_or_times_are_refused(column, data, refused):
    rows = tables.every_kind(60).with_columns(pl.Series("own", column))
    with pytest.raises(TableError, match=refused):
        opened(rows, config_for(data.pop("target", "amount"), folds=6, data=data))


@pytest.mark.parametrize(
    ("column", "data", "refused"),
    [
        (
            [f"g{i % 3}" for i in range(60)],
            {"group": "own"},
            "^fold . has rows of one group outside it, and needs those",
        ),
        ([["a", "b"][i > 4] for i in range(60)], {"target": "own"}, "^fold . has one row of class 'a' outside it, and"),
    ],
)
def test_what_lies_outside_a_fold_must_be_enough_to_split(column, data, refused):
    """The table holds more than what is counted there."""
    rows = tables.every_kind(60).with_columns(pl.Series("own", column))
    config = config_for(data.pop("target", "amount"), folds=2, data={**data, "test_share": 0.0})
    table, target = open_table(rows, config)
    if target.classes:
        keep = np.flatnonzero((target.values != "a") | (np.arange(60) < 3))
        table, target = table.take(keep), replace(target, values=target.values[keep])
    with pytest.raises(TableError, match=refused):
        plan_of(table, target, config, 2)


def test_as_many_times_as_folds_in_time_need_are_enough():
    """Two before the first fold, of which the later one says when its fit stops."""
    rows = tables.every_kind(60).with_columns(own=pl.Series([i // 6 for i in range(60)]))
    bag = opened(rows, config_for("amount", folds=6, data={"split_by_time": "own"}))
    assert [(len(fold.train), len(fold.validation), len(fold.test)) for fold in bag.folds[:2]] == [
        (6, 6, 6),
        (12, 6, 6),
    ]


def test_folds_that_were_fitted_before_have_been_paid_for(table, monkeypatch):
    budgets = []

    def held_by_a_checkpoint(prepared, config, *args, **more):
        budgets.append(config.fit.budget_s)
        core, result, notes = fit_network(prepared, config, *args, **more)
        return core, replace(result, seconds=1000.0), notes

    monkeypatch.setattr("rowcast.training.bagging.rounds.fit_network", held_by_a_checkpoint)
    config = config_for("class", fit={"budget_s": 3000.0, "epochs": 1})
    fit_bag(opened(table, config), config, CPU, own=NOTHING_OWN)
    assert budgets == pytest.approx([1000.0, 1000.0, 1000.0], abs=60)


def test_a_budget_that_is_too_small_for_a_fold_publishes_nothing(table, tmp_path):
    config = config_for("amount", fit={"budget_s": 1e-3, "epochs": 50, "batch_size": 8})
    with pytest.raises(
        TrainingError, match=r"a budget must be enough for an epoch of each of 3 folds, got .* for each"
    ):
        train(table, config, name="m", repository=Repository(tmp_path))
    assert not (tmp_path / "m").exists()


def test_what_follows_the_fits_is_kept_back_for_every_network_of_every_fold(table, tmp_path, monkeypatch):
    monkeypatch.setattr("rowcast.training.train._check_before", lambda *_: 1000.0)  # seconds, of one network
    config = config_for("amount", fit={"budget_s": 2500.0, "seeds": 3, "epochs": 50, "batch_size": 8})
    with pytest.raises(TrainingError, match=r"got less than 0.01 s for each"):
        train(table, config, name="m", repository=Repository(tmp_path))
    more = with_fit(config, budget_s=8500.0, epochs=1)  # for 3 networks of one seed, 6 of two, but not 9 of three
    trained = train(table, more, name="m", repository=Repository(tmp_path))
    (note,) = [said for said in trained.model.manifest.decisions if said.startswith("the budget left ")]
    assert ": 6 of 9 were made, 2 of each fold, and took " in note


def test_a_budget_goes_for_a_fit_of_each_fold_before_further_ones(table):
    order = []
    config = config_for("amount", fit={"budget_s": 3000.0, "seeds": 2, "epochs": 1})
    fit_bag(opened(table, config), config, CPU, lambda progress: order.append(round(progress.done, 3)), own=NOTHING_OWN)
    assert order == [round((i + 1) / 6, 3) for i in range(6)]
    tight = fit_bag(opened(table, config), config, CPU, own=NOTHING_OWN, after=3000.0)
    assert len(networks_of(tight.core)) == 3
    assert any("3 of 6 were made, 1 of each fold" in said for said in tight.decisions)


@pytest.mark.parametrize(
    ("left", "rounds", "seconds"),
    [(30.0, 1, 10.0), (17.0, 1, 8.5), (11.0, 1, 11.0), (5.9, 1, 0.0), (12.0, 3, 12.0)],
)
def test_a_round_is_begun_only_if_it_can_have_most_of_what_one_takes(left, rounds, seconds):
    assert seconds_of_round(left, 10.0, rounds, 4, 0.0) == seconds


def test_a_round_that_is_ended_leaves_those_before_it(table, tmp_path):
    trained = train(
        table,
        config_for("amount", folds=2, fit={"seeds": 2}),
        name="m",
        repository=Repository(tmp_path),
        callbacks=[lambda progress: progress.done > 0.8],
    )
    assert trained.summary()["stopped"] == "interrupted"
    assert "round 2 of 2 was ended in fold 2: the 1 of each fold before it answer" in trained.summary()["decisions"]
    assert trained.summary()["rows"] == {"train": 192, "validation": 192, "test": 48}


def test_what_all_folds_say_is_told_once():
    said = [["a is dropped", "b has 3 levels"], ["a is dropped", "b has 4 levels", "c is kept"]]
    assert told_once(said) == [
        "a is dropped",
        "b has 3 levels (so in fold 1, and much alike in the others)",
        "in fold 2: c is kept",
    ]


def test_errors_name_arguments_in_python(table):
    with pytest.raises(RowcastError, match="leave out refit="):
        rowcast.fit(table, target="amount", folds=2, refit=True, verbose=False)
