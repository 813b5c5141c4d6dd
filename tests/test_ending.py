"""``rowcast train`` and signals, as a shell and its exit codes see them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support import tables
from tests.support.command import run

LONG = (
    "--epochs",
    "100000",
    "--set",
    "fit.patience=100000",
    "--set",
    "network.members=2",
    "--set",
    "network.layers=[16]",
)


@pytest.fixture
def fit(tmp_path):
    """The command, once its fit has begun; started as in the foreground, where SIGINT is not ignored."""
    tables.every_kind(200).drop("class").write_csv(tmp_path / "t.csv")
    command = [sys.executable, "-m", "rowcast", "train", "t.csv", "--target", "amount", "--json", *LONG]
    foreground = "import os, signal, sys; signal.signal(2, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", foreground, *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            break
    yield process
    process.kill()
    process.communicate()


def test_after_ctrl_c_the_command_publishes_says_so_and_ends_with_0(fit, tmp_path):
    fit.send_signal(signal.SIGINT)
    out, err = fit.communicate()
    summary = json.loads(out.splitlines()[-1])
    assert (fit.returncode, summary["stopped"], summary["version"]) == (0, "interrupted", 1)
    assert "Ctrl-C: the fit ends, and the best weights so far are published" in err
    assert "the fit was ended by Ctrl-C in epoch" in err
    assert (tmp_path / "models" / "repository" / "t" / "1" / "model.json").exists()


def test_before_the_fit_has_begun_ctrl_c_ends_the_command_with_nothing_published(tmp_path, monkeypatch, capfd):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("rowcast.training.fit_network.check_encoder", lambda _: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.chdir(tmp_path)
    tables.every_kind(200).drop("class").write_csv(tmp_path / "t.csv")
    code, out, err = run(capfd, "train", "t.csv", "--target", "amount", "--set", "network.members=2", "--epochs", "1")
    signal.signal(signal.SIGINT, before)
    assert (code, out, err) == (130, "", "rowcast: stopped; nothing was published\n")
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]
