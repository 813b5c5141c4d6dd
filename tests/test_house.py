"""Which package may import which, and what serving never loads."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rowcast"
ROOMS = {
    "models": ROOT / "models",
    "training": ROOT / "training",
    "service": ROOT / "service",
    "loadtest": ROOT / "loadtest",
    "api": PACKAGE / "api",
    "client": PACKAGE / "client",
    "cli": PACKAGE / "cli",
    "image": ROOT / "image",
}
"""Where the code of each room lies. But for ``image``, which no wheel holds, a room is imported as ``rowcast.ROOM``."""
LINKED = ("models", "training", "service", "loadtest")
API = "rowcast"
"""The names that users see, ``rowcast/__init__.py``."""
MAY_IMPORT = {
    "models": set(),
    "training": {"models"},
    "service": {"models"},
    "api": {"models", "training"},
    "client": {"models"},
    "loadtest": {"models"},
    "image": {"models", "service"},
    "cli": {"models", "training", "service", "client", "loadtest", "api", API},
}
NOT_INSTALLED = {"image", "benchmarks", "proofs", "tests"}
TRAINING_ONLY = {"torch", "polars", "onnx", "onnx_ir", "onnxscript", "sklearn", "safetensors", "pandas", "optuna"}


@functools.cache
def modules_imported(file: Path) -> set[str]:
    """The dotted names of everything that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages_imported(file: Path) -> set[str]:
    """Top-level names of everything a file imports."""
    return {name.partition(".")[0] for name in modules_imported(file)}


def rooms_imported(file: Path) -> set[str]:
    """The rooms that a file imports from; what is no room's is the API's."""
    found = set()
    for name in modules_imported(file):
        package, *rest = name.split(".")
        if package == API:
            found.add(rest[0] if rest and rest[0] in ROOMS else API)
        elif package in NOT_INSTALLED:
            found.add(package)
    return found


def modules_of(room):
    """The modules of a room and of its packages, at any depth."""
    found = sorted(ROOMS[room].rglob("*.py"))
    assert found, f"{room} is not where it should be"
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room):
    for file in modules_of(room):
        foreign = rooms_imported(file) - {room} - MAY_IMPORT[room]
        assert not foreign, f"{file.relative_to(ROOT)} imports {foreign}"


def test_the_python_api_imports_no_command_line_and_no_service():
    assert rooms_imported(PACKAGE / "__init__.py") == {"models", "api", "client"}


def test_the_estimators_of_scikit_learn_import_no_command_line_and_no_service():
    assert rooms_imported(PACKAGE / "sklearn.py") == {"models", "training", "api", API}


def test_nobody_imports_a_room_by_its_bare_name():
    """As ``service`` beside ``rowcast.service`` it would be a second module, with classes and counters of its own."""
    folders = (*ROOMS.values(), ROOT / "benchmarks", ROOT / "proofs", ROOT / "tests")
    files = [PACKAGE / "__init__.py", *(file for folder in folders for file in sorted(folder.rglob("*.py")))]
    for file in files:
        if "peers" not in file.parts:  # programs of their own, beside modules of their own
            bare = packages_imported(file) & (ROOMS.keys() - NOT_INSTALLED)
            assert not bare, f"{file.relative_to(ROOT)} imports {bare}"


@pytest.mark.parametrize("room", LINKED)
def test_a_room_of_the_checkout_is_linked_into_the_package(room):
    link = PACKAGE / room
    assert (link.is_symlink(), link.resolve()) == (True, ROOMS[room])


@pytest.mark.parametrize("room", ["models", "service", "client", "loadtest", "image", "cli"])
def test_only_training_names_what_training_needs(room):
    for file in modules_of(room):
        found = packages_imported(file) & TRAINING_ONLY
        assert not found, file


LAYERS = [
    ["cache", "caller", "errors", "variables", "platform_variables"],
    ["limits"],
    ["settings"],
    ["columns"],
    ["rollout"],
    ["metrics"],
    ["engine"],
    ["http"],
    ["middleware"],
    ["process"],
    ["json_text"],
    ["protocols.arrow", "protocols.v2"],
    ["protocols.rows", "protocols.grpc"],
    ["protocols.platforms"],
    ["live"],
    ["router"],
    ["app"],
]
"""The rooms of the service, from the ground up: each may import those of the lines above its own."""
STARTS_FIRST = {"service/__init__.py"}
"""What a worker does before anything else is imported."""
SERVICE = "rowcast.service"


def room_of(module: str) -> str | None:
    """The room that a module of the service lies in; None for a module of anything else."""
    names = [name for line in LAYERS for name in line]
    return next((n for n in names if f"{module}.".startswith(f"{SERVICE}.{n}.")), None)


def name_of(file: Path) -> str:
    """The dotted name of a module of the service."""
    return ".".join(("rowcast", *file.relative_to(ROOT).with_suffix("").parts))


def test_the_rooms_of_the_service_import_downwards_only():
    level = {name: n for n, line in enumerate(LAYERS) for name in line}
    imports = 0
    for file in modules_of("service"):
        path = file.relative_to(ROOT)
        if path.as_posix() in STARTS_FIRST:
            continue
        own = room_of(name_of(file))
        if own is None:
            assert path == Path("service/protocols/__init__.py"), f"{path} lies in no room"
            continue
        for module in modules_imported(file):
            room = room_of(module)
            if room is not None and room != own:
                assert level[room] < level[own], f"{path} imports {module}"
                imports += 1
    assert imports > 100, "imports are not seen: are they spelled otherwise?"


def test_no_module_of_the_service_needs_itself():
    needs = {name_of(file): modules_imported(file) for file in modules_of("service")}

    def needed(module: str) -> set[str]:
        return {name for name in needs for one in needs[module] if one == name or one.startswith(f"{name}.")} - {
            SERVICE
        }

    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for name in sorted(needed(module)):
                visit(name, (*above, module))
            done.add(module)

    for module in needs:
        if module != SERVICE:
            visit(module, ())


def test_only_training_loads_torch():
    code = (
        "import sys, rowcast.cli, rowcast.client, rowcast.models, rowcast.service.router, rowcast.service.settings; "
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "polars", "onnx", "sklearn"}
    assert not loaded & (ROOMS.keys() | NOT_INSTALLED), "a module of ours that users cannot tell from theirs"


def test_nothing_unpickles():
    own = (PACKAGE / "__init__.py", PACKAGE / "sklearn.py")
    files = [*own, *(file for room in ROOMS for file in modules_of(room))]
    for file in files:
        assert not packages_imported(file) & {"pickle", "cloudpickle", "joblib", "dill", "marshal"}, file
        assert "torch.load" not in file.read_text("utf-8"), file


def test_public_names_are_there():
    import rowcast
    from rowcast import loadtest, models

    for module in (models, loadtest, rowcast):
        for name in module.__all__:
            assert hasattr(module, name), name


def test_the_python_api_shows_its_own_names_alone():
    import rowcast
    import rowcast.cli

    shown = {name for name in dir(rowcast) if not name.startswith("__")}
    assert shown == set(rowcast.__all__)
    assert rowcast.cli.main.__name__ not in shown
