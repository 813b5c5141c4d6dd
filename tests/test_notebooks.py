"""The notebooks run from the first cell to the last in a kernel, and are stored without what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import joblib
import nbformat
import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NAMES = [file.stem for file in FILES]


def notebook_of(name):
    return nbformat.read(ROOT / "docs" / "notebooks" / f"{name}.ipynb", as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_outputs(name):
    notebook = notebook_of(name)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells if cell.metadata or cell.get("outputs")] == []
    assert [cell.id for cell in code_of(notebook) if cell.execution_count is not None] == []
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


def test_california_has_ten_cells_and_both_begin_with_the_same_one():
    assert NAMES == ["california", "flights"]
    california, flights = (code_of(notebook_of(name)) for name in NAMES)
    assert len(california) == 10
    assert california[0].source == flights[0].source.replace("[train,demo]", "[train]")


def executed(name, folder, variables):
    """The outputs of each cell of code of a notebook that was run in a folder: text and HTML."""
    notebook, copy = notebook_of(name), folder / f"{name}.ipynb"
    for cell in notebook.cells:  # every line runs all the same
        cell.source = re.sub(r'fit={"epochs": \d+}', 'fit={"epochs": 1}', cell.source)
    nbformat.write(notebook, copy)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "IPYTHONDIR": str(folder / "ipython")} | variables
    command = [Path(sys.executable).parent / "jupyter-execute", "--inplace", "--timeout=100", copy]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(copy, as_version=4)
    found = []
    for cell in code_of(notebook):
        data = [output.get("data", {}) for output in cell.outputs]
        text = [output.get("text", "") for output in cell.outputs] + [one.get("text/plain", "") for one in data]
        found.append(
            ("\n".join(filter(None, map(str.strip, text))), "\n".join(one.get("text/html", "") for one in data))
        )
    return found


@pytest.fixture
def houses(tmp_path):
    """A cache of scikit-learn in which California's houses lie already, as few and as made up as a test needs."""
    rng = np.random.default_rng(0)
    rows = 6_000
    households, income = rng.integers(50, 900, rows), rng.lognormal(1.2, 0.4, rows)
    raw = np.column_stack(
        [
            rng.uniform(-124, -114, rows).round(2),  # longitude, and so on: the columns as they are downloaded
            rng.uniform(32, 42, rows).round(2),
            rng.integers(1, 52, rows),
            households * rng.uniform(3, 8, rows).round(1),
            households * rng.uniform(0.9, 1.3, rows).round(2),
            households * rng.uniform(2, 4, rows).round(1),
            households,
            income.round(4),
            np.clip(45_000 * income + rng.normal(0, 20_000, rows), 15_000, 500_000).round(-2),
        ]
    )
    folder = tmp_path / "cache"
    folder.mkdir()
    joblib.dump(raw[:, [8, 7, 2, 3, 4, 5, 6, 1, 0]], folder / "cal_housing_py3.pkz")
    return {"SCIKIT_LEARN_DATA": str(folder)}


@pytest.mark.slow
def test_california_runs(houses, tmp_path):
    found = executed("california", tmp_path, houses)
    texts, pages = zip(*found, strict=True)
    assert texts[0].startswith("trains on ")
    assert "<caption>2,000 rows, 9 columns: regression</caption>" in pages[2]
    assert "<caption>rowcast.Model</caption>" in pages[3]
    assert pages[4].startswith("<svg ")
    assert "'rmse': " in texts[5]
    assert "coverage" in pages[6]
    assert "MedInc" in pages[7]
    assert "of the prices lie between lower and upper" in texts[8]
    assert texts[9].startswith("<rowcast.Model california:1 regression> ")
    assert (tmp_path / "california-models" / "california" / "1" / "report.html").exists()


@pytest.mark.slow
def test_flights_run_until_the_service_has_answered_and_ended(tmp_path):
    found = executed("flights", tmp_path, {"BENTOML_HOME": str(tmp_path / "bentoml")})
    texts, pages = zip(*found, strict=True)
    assert "columns: binary</caption>" in pages[1]
    assert "<caption>rowcast.Model</caption>" in pages[2]
    assert "report.html" in texts[5]
    asked = texts[7].splitlines()
    assert asked[0] == "binary by version 1"
    same, furthest = map(float, asked[1].split())
    assert same == 1.0
    assert furthest < 1e-6
    assert "probability_late" in pages[7]
    assert texts[8].splitlines()[0] == "the service ended with code 0"


def test_the_first_cell_installs_the_wheel_where_rowcast_is_not_there(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    # Everything else is there already, as on a hosted machine; of an editable install, this finds the name alone.
    environment = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib"), "PIP_NO_INDEX": "1"}
    first = code_of(notebook_of("california"))[0].source
    where = "import rowcast; print(rowcast.__file__)"
    for program, ends in ((where, False), (f"{first}\n{where}", True)):
        command = [python, "-c", program]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is ends, done.stderr
    assert done.stdout.splitlines()[0].startswith("trains on ")
    assert Path(done.stdout.splitlines()[1]).is_relative_to(tmp_path / "env")
    assert Path(wheel).name in first
