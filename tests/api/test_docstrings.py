"""The examples in docstrings of the Python API give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest

import rowcast
import rowcast.api
from tests.support.tables import QUICK

MODULES = [f"rowcast.api.{module.name}" for module in pkgutil.iter_modules(rowcast.api.__path__)]
ROOMS = ["durations", "faults", "labels", "names", "printable", "shares"]
OTHERS = ["rowcast.sklearn", "rowcast.training.data.arrays", *(f"rowcast.models.{room}" for room in ROOMS)]


@pytest.fixture(scope="module")
def names():
    """What the examples speak of."""
    rng = np.random.default_rng(0)
    houses = pd.DataFrame({"rooms": rng.integers(1, 9, 120), "age": rng.integers(0, 90, 120)})
    houses["price"] = houses["rooms"] * 30.5 - houses["age"] + rng.normal(0, 5, 120)
    model = rowcast.fit(houses, target="price", verbose=False, **QUICK)
    x, y = houses[["rooms", "age"]], houses["price"]
    other = rowcast.fit(houses, target="price", verbose=False, seed=1, **QUICK)
    classifier = rowcast.fit(x, y > 100, verbose=False, **QUICK)
    fitted = {"model": model, "other": other, "classifier": classifier}
    return {"rowcast": rowcast, "houses": houses, "new_rows": x, "X": x, "y": y, **fitted}


@pytest.mark.parametrize("module", [*MODULES, *OTHERS])
def test_examples_give_what_they_say(module, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names["model"].publish("houses")
    loaded = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder().find(loaded, extraglobs=names):
        assert runner.run(test).failed == 0, test.name


def test_every_public_function_has_an_example_that_runs():
    finder = doctest.DocTestFinder(exclude_empty=True)
    run = {
        test.name.rpartition(".")[2]
        for module in MODULES
        for test in finder.find(importlib.import_module(module))
        if any(not example.options for example in test.examples)
    }
    functions = {"fit", "load", "look", "compare", "crossvalidate", "tune"}
    methods = {"predict", "predict_proba", "evaluate", "importance", "report", "publish", "summary", "plot_history"}
    assert (functions | methods | {"metrics", "history", "decisions", "classes"}) - run == set()


def test_some_examples_run():
    found = doctest.DocTestFinder().find(importlib.import_module("rowcast.api.fitting"))
    assert sum(not example.options for test in found for example in test.examples) >= 2
