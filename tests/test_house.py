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


LAYERS = [
    ["service.cache", "service.errors", "service.variables", "service.platform_variables"],
    ["service.limits"],
    ["service.settings"],
    ["service.columns"],
    ["service.metrics"],
    ["service.engine"],
    ["service.http"],
    ["service.middleware"],
    ["service.process"],
    ["service.protocols.json"],
    ["service.protocols.arrow", "service.protocols.v2"],
    ["service.protocols.rows", "service.protocols.grpc"],
    ["service.protocols.platforms"],
    ["service.router"],
    ["service.app"],
]
"""The rooms of the service, from the ground up: each may import those of the lines above its own."""
STARTS_FIRST = {"service/__init__.py"}
"""What a worker does before anything else is imported."""


def room_of(module: str) -> str | None:
    """The room that a module of the service lies in; None for a module of anything else."""
    names = [name for line in LAYERS for name in line]
    return next((name for name in names if module == name or module.startswith(f"{name}.")), None)


def modules_imported(file: Path) -> set[str]:
    """The dotted names of everything that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_rooms_of_the_service_import_downwards_only():
    level = {name: n for n, line in enumerate(LAYERS) for name in line}
    for file in modules_of("service"):
        path = file.relative_to(ROOT)
        if path.as_posix() in STARTS_FIRST:
            continue
        own = room_of(".".join(path.with_suffix("").parts))
        if own is None:
            assert path == Path("service/protocols/__init__.py"), f"{path} lies in no room"
            continue
        for module in modules_imported(file):
            room = room_of(module)
            if room is not None and room != own:
                assert level[room] < level[own], f"{path} imports {module}"


def test_no_module_of_the_service_needs_itself():
    needs = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): modules_imported(file) for file in modules_of("service")
    }

    def needed(module: str) -> set[str]:
        return {name for name in needs for one in needs[module] if one == name or one.startswith(f"{name}.")} - {
            "service"
        }

    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for name in sorted(needed(module)):
                visit(name, (*above, module))
            done.add(module)

    for module in needs:
        if module != "service":
            visit(module, ())


def test_only_training_loads_torch():
    code = "import sys, service.router, service.settings, models, rowcast; print(*sorted(sys.modules))"
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
