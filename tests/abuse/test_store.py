"""Versions that were damaged or forged: none is ever served, and the old version goes on as if nothing had been."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

from rowcast.models.errors import ModelRefused
from rowcast.models.repository import Repository
from rowcast.models.session import Session
from rowcast.service.engine.registry import Registry
from rowcast.service.settings import Settings
from tests.abuse.exchange import request, say
from tests.service.servers import ROOT, Server, command, environment, free_port
from tests.support import handmade

FILES = {"model.onnx": handmade.graph(), "config.toml": b"epochs = 3\n"}
DIFFERS = "is not the file that was published: its SHA-256 differs"
CANNOT_LOAD = "ONNX Runtime cannot load the graph"
TABLE = b"\0\0\0\x3f" * 2000
"""1,000 rows of two times 0.5, as floats: what a graph would read from outside."""


class Damage(NamedTuple):
    name: str
    publish: Callable[[Path, Path], None]
    """Makes version 2 in a repository; the second folder is outside of it, and the working directory."""
    words: str


def damaged(change: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """A good version 2 that is changed afterwards; told its folder and one outside."""

    def publish(root: Path, outside: Path) -> None:
        change(Repository(root).publish("flights", handmade.manifest(), FILES).path, outside)

    return publish


def graph_of(content: Callable[[Path], bytes]) -> Callable[[Path, Path], None]:
    """A version 2 whose graph was forged before it was published: every hash is right."""

    def publish(root: Path, outside: Path) -> None:
        Repository(root).publish("flights", handmade.manifest(), FILES | {"model.onnx": content(outside)})

    return publish


def flipped(file: str) -> Callable[[Path, Path], None]:
    def flip(version: Path, _: Path) -> None:
        content = bytearray((version / file).read_bytes())
        content[len(content) // 2] ^= 1
        (version / file).write_bytes(content)

    return damaged(flip)


def truncated(file: str, keep: int) -> Callable[[Path, Path], None]:
    return damaged(lambda version, _: os.truncate(version / file, keep))


def linked(version: Path, outside: Path) -> None:
    (outside / "copy").write_bytes((version / "model.onnx").read_bytes())
    (version / "model.onnx").unlink()
    (version / "model.onnx").symlink_to(outside / "copy")


def fifo(version: Path, _: Path) -> None:
    (version / "config.toml").unlink()
    os.mkfifo(version / "config.toml")


def folder(version: Path, _: Path) -> None:
    (version / "config.toml").unlink()
    (version / "config.toml").mkdir()


def external(location: str) -> Callable[[Path], bytes]:
    """A graph whose probabilities are looked up in a table that stands in another file."""

    def content(outside: Path) -> bytes:
        (outside / "table.bin").write_bytes(TABLE)
        (outside / "below").mkdir()
        os.link(outside / "table.bin", outside / "hard.bin")
        (outside / "soft.bin").symlink_to(outside / "table.bin")
        model = onnx.load_from_string(handmade.graph())
        table = T(name="table", data_type=T.FLOAT, dims=[1000, 2], data_location=T.EXTERNAL)
        for key, value in {"location": location.format(outside=outside), "offset": "0", "length": "8000"}.items():
            table.external_data.add(key=key, value=value)
        model.graph.initializer.append(table)
        (joined,) = (node for node in model.graph.node if node.op_type == "Concat")
        joined.output[0] = "both"
        place = list(model.graph.node).index(joined) + 1
        model.graph.node.insert(place, h.make_node("Gather", ["table", "which"], ["probabilities"]))
        model.graph.node.insert(place, h.make_node("ArgMax", ["both"], ["which"], axis=1, keepdims=0))
        return model.SerializeToString()

    return content


class Burglar:
    """Leaves a mark in the working directory when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("unpickled",)


def checkpoint(version: Path, _: Path) -> None:
    (version / "model.pt").write_bytes(pickle.dumps(Burglar()))


def of_another_model(root: Path, _: Path) -> None:
    other = Repository(root).publish("other", handmade.manifest(), FILES).path
    other.rename(root / "flights/2")


DAMAGES = [
    Damage("truncated graph", truncated("model.onnx", 300), DIFFERS),
    Damage("truncated graph, to nothing", truncated("model.onnx", 0), DIFFERS),
    Damage("truncated manifest", truncated("model.json", 300), "was changed after it was published"),
    Damage("truncated other file", truncated("config.toml", 3), DIFFERS),
    Damage("flipped bit of the graph", flipped("model.onnx"), DIFFERS),
    Damage("flipped bit of the manifest", flipped("model.json"), "was changed after it was published"),
    Damage("flipped bit of another file", flipped("config.toml"), DIFFERS),
    Damage("missing file", damaged(lambda version, _: (version / "config.toml").unlink()), "cannot be read"),
    Damage("symbolic link for a file", damaged(linked), "cannot be read as a plain file"),
    Damage("pipe for a file", damaged(fifo), "is not a plain file"),
    Damage("folder for a file", damaged(folder), "is not a plain file"),
    Damage("external data in the working directory", graph_of(external("table.bin")), CANNOT_LOAD),
    Damage("external data by dots", graph_of(external("../{outside.name}/table.bin")), CANNOT_LOAD),
    Damage("external data by dots, roundabout", graph_of(external("below/../table.bin")), CANNOT_LOAD),
    Damage("external data by absolute path", graph_of(external("{outside}/table.bin")), CANNOT_LOAD),
    Damage("external data by symbolic link", graph_of(external("soft.bin")), CANNOT_LOAD),
    Damage("external data by hard link", graph_of(external("hard.bin")), CANNOT_LOAD),
    Damage("external data in the process's memory", graph_of(external("*/_ORT_MEM_ADDR_/*")), CANNOT_LOAD),
    Damage("undeclared file", damaged(lambda version, _: (version / "notes").touch()), "does not declare: notes"),
    Damage("undeclared hidden file", damaged(lambda version, _: (version / ".x").touch()), r"does not declare: \.x"),
    Damage("pickled checkpoint for a graph", graph_of(lambda _: pickle.dumps(Burglar())), CANNOT_LOAD),
    Damage("pickled checkpoint beside the graph", damaged(checkpoint), r"does not declare: model\.pt"),
    Damage(
        "graph of another signature", graph_of(lambda _: handmade.graph(handmade.REGRESSION)), "signature in the graph"
    ),
    Damage("version of another model", of_another_model, "belongs in another folder"),
]


@pytest.fixture
def beside(service: Server, repository: Path) -> Iterator[Path]:
    """The repository a service of version 1 was started from; version 1 must stay as whole as the service."""
    yield repository
    Session.of(Repository(repository).open("flights", 1), "cpu")
    assert say(service, request(b"", "/readyz", method="GET")).status == 200
    shutil.rmtree(repository / "flights/2")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name.replace(" ", "-"))
def test_a_version_that_is_not_as_published_is_refused_and_the_old_one_serves(
    beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage
) -> None:
    monkeypatch.chdir(tmp_path)
    damage.publish(beside, tmp_path)
    with pytest.raises(ModelRefused, match=damage.words):
        Session.of(Repository(beside).open("flights"), "cpu")
    with pytest.raises(ModelRefused, match=damage.words):
        Registry(Settings(repository=beside, models="flights:2"))
    for models in ("flights:1", "flights", ""):  # the latest that is whole
        assert list(Registry(Settings(repository=beside, models=models)).versions) == [("flights", 1)]
    assert not (tmp_path / "unpickled").exists()


def test_a_service_of_a_refused_version_does_not_start_and_says_why_in_a_line(beside: Path, tmp_path: Path) -> None:
    graph_of(external("../{outside.name}/table.bin"))(beside, tmp_path)
    done = subprocess.run(
        command(free_port()),
        cwd=ROOT,
        env=environment(tmp_path / "home", repository=str(beside), models="flights:2"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.strip().splitlines() if "onnxruntime:" not in line]
    assert CANNOT_LOAD in line


def test_a_full_disk_a_kill_or_a_flipped_bit_while_publishing_leaves_every_old_version_intact() -> None:
    proof = [sys.executable, "-m", "proofs.store", "--kills", "20", "--mutations", "100"]
    done = subprocess.run(proof, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kills, writes, mutations = done.stdout.splitlines()
    assert kills.startswith("killed while publishing: 20 of 20 left every version whole")
    assert writes == "writes that failed: 9 of 9, the old version intact after 9"
    assert mutations == "mutated models: 100 of 100 refused"
