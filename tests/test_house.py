"""The plan of the house, held: who may import whom, and what serving never loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"models", "training", "service", "client", "loadtest", "image", "cli", "rowcast"}
MAY_IMPORT = {
    "models": set(),
    "training": {"models"},
    "service": {"models"},
    "client": {"models"},
    "loadtest": {"models"},
    "image": {"models", "service"},
    "cli": {"models", "training", "service", "client", "loadtest"},
}
TRAINING_ONLY = {"torch", "polars", "onnx", "onnx_ir", "onnxscript", "sklearn", "safetensors", "pandas"}


def imported_modules(file: Path) -> set[str]:
    """Top-level names of everything a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def modules_of(room):
    """The modules of a room and of its packages, at any depth."""
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room):
    files = sorted(modules_of(room))
    assert files
    for file in files:
        foreign = (imported_modules(file) & ROOMS) - {room} - MAY_IMPORT[room]
        assert not foreign, f"{file.relative_to(ROOT)} imports {foreign}"


@pytest.mark.parametrize("room", ["models", "service", "client", "loadtest", "image", "cli"])
def test_only_training_names_what_training_needs(room):
    for file in modules_of(room):
        assert not imported_modules(file) & TRAINING_ONLY, file


def test_only_training_loads_torch():
    code = "import sys, service.front, service.settings, models, rowcast; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "polars", "onnx", "sklearn"}


def test_nothing_unpickles():
    for room in ROOMS:
        for file in modules_of(room):
            assert not imported_modules(file) & {"pickle", "cloudpickle", "joblib", "dill", "marshal"}, file
            assert "torch.load" not in file.read_text("utf-8"), file


def test_public_names_are_there():
    import models
    import rowcast

    for module in (models, rowcast):
        for name in module.__all__:
            assert hasattr(module, name), name
