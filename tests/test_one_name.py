"""Rowcast is one importable name: whatever else a user calls ``models`` or ``training`` is theirs."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "training", "service", "client", "api", "cli", "loadtest")
OWN = "WHOSE = 'the user'\n"
PROGRAM = f"""
import {", ".join(ROOMS)}
import rowcast
import rowcast.cli
import rowcast.loadtest
import rowcast.service.router

table = {{"x": [float(n % 7) for n in range(200)], "kind": ["a", "b"] * 100, "y": [float(n % 7) for n in range(200)]}}
model = rowcast.fit(table, target="y", preset="quick", fit={{"epochs": 1}}, network={{"members": 2, "layers": [16]}})
answers = model.predict({{"x": [1.0, 2.0], "kind": ["a", "b"]}})
print(len(answers["label"]), model.publish("mine").path.relative_to(models.HERE).as_posix())
print(*({", ".join(f"{room}.WHOSE" for room in ROOMS)}), sep=",")
"""


def test_a_network_is_fitted_beside_the_users_own_modules(tmp_path):
    for room in ROOMS:
        (tmp_path / f"{room}.py").write_text(OWN)
    (tmp_path / "models.py").unlink()
    (tmp_path / "models").mkdir()  # a package of theirs, where models go unless somebody says otherwise
    here = f"from pathlib import Path\nHERE = Path({str(tmp_path)!r})\n"
    (tmp_path / "models" / "__init__.py").write_text(here + OWN)
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_")}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["2 models/repository/mine/1", ",".join(["the user"] * len(ROOMS))]


def modules(*folders):
    """Every module below some folders of the checkout, at any depth."""
    return {file.relative_to(ROOT) for folder in folders for file in (ROOT / folder).rglob("*.py")}


def in_wheel(root):
    """Where in a wheel of ``root`` each file would lie."""
    return {Path(file.distribution_path) for file in WheelBuilder(str(root)).recurse_included_files()}


WANTED = modules("rowcast") | {
    Path("rowcast") / module for module in modules("models", "training", "service", "loadtest")
}


def test_a_wheel_holds_every_module_as_part_of_one_package():
    held = in_wheel(ROOT)
    assert {file for file in held if file.suffix == ".py"} == WANTED
    assert {file.parts[0] for file in held} == {"rowcast"}
    assert {Path("rowcast/py.typed"), Path("rowcast/service/protocols/grpc/open_inference.binpb")} <= held
    assert not {file for file in held if "repository" in file.parts}


def test_a_wheel_of_the_source_distribution_holds_the_same(tmp_path):
    """Where links get lost, as in an archive for Windows, a wheel is whole as well."""
    (archive,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(archive) as source:
        assert not [member.name for member in source if member.issym()]
        source.extractall(tmp_path, filter="data")
    (unpacked,) = (folder for folder in tmp_path.iterdir() if folder.is_dir())
    assert {file for file in in_wheel(unpacked) if file.suffix == ".py"} == WANTED
    found = subprocess.run(
        [sys.executable, "-c", "import rowcast.service.router as r; print(r.__file__)"],
        cwd=unpacked,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(unpacked / "service" / "router.py")


def test_what_a_wheel_holds_is_imported_from_there(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        (scripts,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "rowcast = rowcast.cli:main" in archive.read(scripts).decode()
    code = (
        "import sys, rowcast.cli, rowcast.client, rowcast.loadtest, rowcast.service.router, rowcast.training.config; "
        "print(*(m.__file__ for n, m in sys.modules.items() if n.partition('.')[0] == 'rowcast'), sep='\\n')"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    files = done.stdout.split()
    assert len(files) > 100
    assert {file for file in files if not file.startswith(str(tmp_path / "site" / "rowcast"))} == set()
