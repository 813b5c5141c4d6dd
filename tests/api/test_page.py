"""The Python of `docs/python.md` runs, block after block."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

import rowcast
from rowcast.models.repository import Repository

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = {
    'Regressor(preset="quick", budget="30s")': 'Regressor(preset="textbook", fit_settings={"epochs": 1})',
    'Classifier(preset="quick")': 'Classifier(preset="quick", fit_settings={"epochs": 1})',
    "cv=5": "cv=2",
    "5e-3]})": "5e-3]}, cv=2)",
    'preset="quick", budget="60s"': 'preset="quick", fit={"epochs": 1}',
    'group="street", preset="quick"': 'group="street", preset="quick", fit={"epochs": 1}',
}
"""Every line runs all the same, in fewer epochs and folds."""


def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROWCAST_REPOSITORY", raising=False)
    rng = np.random.default_rng(0)
    houses = pd.DataFrame({"rooms": rng.integers(1, 9, 120), "age": rng.integers(0, 90, 120)})
    houses["street"] = rng.choice(["Elm", "Oak", "Ash", "Fir", "Yew", "Bay"], 120)
    houses["price"] = houses["rooms"] * 30.5 - houses["age"] + rng.normal(0, 5, 120)
    houses.to_csv("houses.csv", index=False)
    houses.drop(columns="price").assign(id=range(120)).to_csv("new.csv", index=False)
    names = {"houses": houses, "X": houses[["rooms", "age"]], "y": (houses["price"] > 100).astype(int)}
    for text in BLOCK.findall(PAGE.read_text("utf-8")):
        program = text
        for long, short in SHORT.items():
            program = program.replace(long, short)
        exec(compile(program, PAGE.name, "exec"), names)
        if "model" in names and "found" not in names:  # the page loads the third version
            while max(Repository(rowcast.DEFAULT_REPOSITORY).versions("houses"), default=0) < 3:
                names["model"].publish("houses")
    assert names["answers"].columns == ["id", "prediction", "lower", "upper"]
    assert len(names["found"].folds) == 5
    assert rowcast.load("mine").version == 1


def test_every_shortening_is_of_a_line_of_the_page():
    text = PAGE.read_text("utf-8")
    assert [long for long in SHORT if long not in text] == []
