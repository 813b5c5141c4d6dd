"""`docs/steps.md` from its first block to its last: Python in one process, commands in the same folder."""

from __future__ import annotations

import re
import shlex
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest

import rowcast
from tests.support.command import run
from tests.support.serving import served

PAGE = Path(__file__).resolve().parents[1] / "docs" / "steps.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:3000"


def blocks():
    return [(match[1], match[2]) for match in BLOCK.finditer(PAGE.read_text("utf-8"))]


def test_every_step_has_both_ways():
    assert {kind for kind, _ in blocks()} == {"python", "sh", "toml"}
    steps = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert [step[:2] for step in steps] == [f"{number} " for number in range(1, 9)]
    assert [step for step in steps if "```python" not in step] == []
    assert [step[0] for step in steps if not re.search(r"```(sh|toml)", step)] == []


def shortened(program):
    """A program with fits of fewer epochs: every line runs all the same."""
    return program.replace('preset="quick"', 'preset="quick", fit={"epochs": 2}')


@pytest.mark.slow
def test_every_block_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROWCAST_REPOSITORY", raising=False)
    address, names = ADDRESS, {}
    with ExitStack() as stack:
        for kind, text in blocks():
            if kind == "toml":
                with open("patients.toml", "a") as config:
                    config.write(text)
            elif kind == "python":
                exec(compile(shortened(text.replace(ADDRESS, address)), PAGE.name, "exec"), names)
            else:
                for line in text.splitlines():
                    if line == "rowcast serve --port 3000 &":
                        address, _ = stack.enter_context(served(tmp_path / "models" / "repository", tmp_path))
                        continue
                    command, *arguments = shlex.split(line.replace(ADDRESS, address))
                    more = ("--set", "fit.epochs=2") if "quick" in arguments else ()
                    code, out, err = run(capfd, *arguments, *more)
                    assert (command, code) == ("rowcast", 0), f"{line}\n{out}\n{err}"
    assert {name: rowcast.load(name).version for name in ("patients", "tuned", "diabetes")} == {
        "patients": 1,
        "tuned": 1,
        "diabetes": 2,
    }
    assert rowcast.load("patients").stored.graph == rowcast.load("diabetes:1").stored.graph
    assert len(names["study"].trials) == 4
    assert Path("best.toml").exists()
    assert pl.read_csv("answers.csv").columns == ["prediction", "lower", "upper"]
    assert len(pl.read_csv("out_of_fold.csv")) == len(names["known"])
    assert Path("report.html").stat().st_size > 60_000
    assert Path("curves.svg").read_text().startswith("<svg ")
