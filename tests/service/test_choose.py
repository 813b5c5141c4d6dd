"""Which versions are served: the newest that are whole, or those that are asked for."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from rowcast.models.errors import ModelNotFound, ModelRefused
from rowcast.models.repository import Repository
from rowcast.models.signature import METADATA_KEY
from rowcast.service.engine.registry import Registry
from rowcast.service.engine.versions import choose
from rowcast.service.settings import Settings
from tests.service.servers import publish_delay, publish_flights
from tests.support import handmade


def cut(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1])


def no_graph(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def not_a_manifest(folder: Path) -> None:
    (folder / "model.json").write_text("{}")


def of_another_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.parent / "1", folder)


def linked_in_a_circle(folder: Path) -> None:
    (folder / "model.json").unlink()
    (folder / "model.json").symlink_to("model.json")


def no_graph_at_all(folder: Path, graph: bytes = b"no graph") -> None:
    """Whole, but ONNX Runtime cannot load it."""
    shutil.rmtree(folder)
    other = Repository(folder.parent.parent / "other")
    for _ in range(int(folder.name)):
        other.publish("flights", handmade.manifest(), {"model.onnx": graph})
    shutil.move(other.root / "flights" / folder.name, folder)
    shutil.rmtree(other.root)


def no_signature(folder: Path) -> None:
    """Whole, and what the graph carries as its signature is none."""
    graph = onnx.load_from_string(handmade.graph())
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {METADATA_KEY: '{"task": "none"}'})
    no_graph_at_all(folder, graph.SerializeToString())


DAMAGES = (cut, no_graph, empty, not_a_manifest, of_another_folder, linked_in_a_circle, no_graph_at_all, no_signature)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish_flights(tmp_path / "repository", versions=3)
    publish_delay(tmp_path / "repository")
    return tmp_path / "repository"


def served(root: Path, models: str = "") -> list[tuple[str, int]]:
    chosen = choose(Settings(repository=root, models=models, device="cpu"))
    return [(stored.manifest.name, stored.manifest.version) for stored in chosen]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_newest_version_is_skipped_with_a_warning_while_an_older_one_is_whole(
    root: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(root / "flights/3")
    with caplog.at_level(logging.WARNING):
        assert served(root) == [("delay", 1), ("flights", 2)]
    (told,) = [record.getMessage() for record in caplog.records]
    why = {no_graph_at_all: "ONNX Runtime cannot load the graph", no_signature: "flights:3 cannot be served: "}
    assert told.startswith(f"flights:3 is skipped, and flights:2 is served: {why.get(damage, root / 'flights/3')}")
    assert served(root, "flights") == [("flights", 2)]
    damage(root / "flights/2")
    assert served(root, "flights") == [("flights", 1)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_version_that_is_asked_for_has_to_be_whole(root: Path, damage: Callable[[Path], None]) -> None:
    damage(root / "flights/3")
    with pytest.raises(ModelRefused):
        served(root, "flights:3")
    assert served(root, "flights:2,flights:1") == [("flights", 1), ("flights", 2)]


def test_where_no_version_is_whole_the_newest_is_named(root: Path) -> None:
    for version in (1, 2, 3):
        cut(root / f"flights/{version}")
    with pytest.raises(ModelRefused, match=r"flights/3/model\.onnx is not the file that was published"):
        served(root)
    assert served(root, "delay") == [("delay", 1)]


def test_a_folder_with_a_number_is_a_version_that_has_to_be_whole(root: Path) -> None:
    (root / "flights/999").mkdir()
    assert served(root) == [("delay", 1), ("flights", 3)]
    (root / "new/1").mkdir(parents=True)
    with pytest.raises(ModelRefused, match=r"new/1/model\.json cannot be read"):
        served(root)


def test_what_is_not_there_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no model 'other'"):
        served(root, "other")
    assert served(tmp_path / "nowhere") == []
    with pytest.raises(ModelNotFound, match=f"there is no model in {tmp_path / 'nowhere'}: make one with"):
        Registry(Settings(repository=tmp_path / "nowhere")).check()
