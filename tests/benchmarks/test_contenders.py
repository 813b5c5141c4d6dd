"""Who is measured: what each is told, what makes its result stale, and that fits run as they are started."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.training.accuracy import contenders
from benchmarks.training.accuracy.contenders import PEER_LIST, PEERS, Peer, Rowcast, exact
from benchmarks.training.accuracy.measure import run
from rowcast.training.budget.ways import OTHERS, ways_of
from tests.support import tiny


def test_every_peer_has_a_program_and_exact_versions():
    for peer in PEER_LIST:
        assert (PEERS / peer.script).exists()
        lines = (PEERS / f"{peer.environment}.txt").read_text().splitlines()
        assert all("==" in line for line in lines), peer.name
        assert exact(peer.environment, peer.package) in lines
    assert len({peer.name for peer in PEER_LIST}) == len(PEER_LIST)


def test_rowcast_is_told_the_target_and_nothing_that_tunes_it(tmp_path):
    parts = tiny.parts(tmp_path)
    config = Rowcast("quick").config(parts, 3)
    assert config == contenders.make_config(
        overrides={"preset": "quick", "seed": 3, "device": "cpu", "data": {"target": "price"}}
    )


def test_rowcast_is_told_no_field_twice_and_none_that_it_is_free_to_choose(tmp_path):
    parts = tiny.parts(tmp_path)
    contender = Rowcast("best", ("fit.budget_s=300", "network.layers=[64,32]"))
    file = tmp_path / "told.toml"
    file.write_text(contender.toml(parts, 3))
    read = contenders.make_config(file=file)
    assert read == contender.config(parts, 3)
    assert len(ways_of(read)) == len(OTHERS)


def test_a_peers_result_depends_on_its_version_options_seed_and_rows(tmp_path):
    parts = tiny.parts(tmp_path)
    other_rows = tiny.parts(tmp_path / "other", "sold")
    boosted = PEER_LIST[0]
    optioned = Peer(boosted.name, boosted.title, boosted.script, boosted.environment, boosted.package, ("--more",))
    codes = [
        boosted.code(parts, 0),
        boosted.code(parts, 1),
        boosted.code(other_rows, 0),
        optioned.code(parts, 0),
        PEER_LIST[1].code(parts, 0),
        Rowcast("quick").code(parts, 0),
        Rowcast("balanced").code(parts, 0),
        Rowcast("quick", ("network.dropout=0.25",)).code(parts, 0),
    ]
    assert len(set(codes)) == len(codes)
    assert boosted.code(parts, 0) == codes[0]


@pytest.mark.parametrize("target", ["price", "sold"])
def test_a_peers_program_answers_validation_and_test_rows(target, tmp_path):
    parts = tiny.parts(tmp_path, target)
    out = tmp_path / "answers.npz"
    how = run([sys.executable, str(PEERS / "lightgbm_defaults.py"), str(parts.folder), str(out)], tmp_path)
    assert 0 < how["fit_s"] <= how["all_s"]
    assert how["rounds"] >= 1
    width = () if target == "price" else (2,)
    with np.load(out) as answers:
        assert {part: answers[part].shape for part in answers} == {"validation": (40, *width), "test": (50, *width)}
        if width:
            assert answers["test"].sum(axis=1) == pytest.approx(np.ones(50))


@pytest.mark.parametrize("target", ["price", "sold"])
def test_rowcast_answers_validation_rows_without_opening_the_test_rows(target, tmp_path):
    parts = tiny.parts(tmp_path, target)
    (parts.folder / "test.csv").unlink()
    one = Rowcast("quick", ("fit.epochs=1", "network.members=1", "network.layers=[8]"), validation_only=True)
    out = tmp_path / "answers.npz"
    how = run(one.command(parts, out, 0, tmp_path), tmp_path)
    assert how["epochs"] == 1
    assert 0 < how["fit_s"] <= how["all_s"]
    with np.load(out) as answers:
        if target == "price":
            assert set(answers) == {"validation", "validation_lower", "validation_upper"}
            assert (answers["validation_lower"] <= answers["validation"]).all()
        else:
            assert set(answers) == {"validation"}
            assert answers["validation"].sum(axis=1) == pytest.approx(np.ones(40), abs=1e-6)
