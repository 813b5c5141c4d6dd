"""The bento: what goes into it, and that it serves."""

from __future__ import annotations

import re

import pytest

from tests import bento, handmade
from tests.serving import ask


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("bento")
    return home, bento.build(home)


def test_it_holds_the_service_the_models_and_nothing_that_trains(built):
    files = {file.relative_to(built[1] / "src").as_posix() for file in (built[1] / "src").rglob("*") if file.is_file()}
    assert {"service/front.py", "models/session.py", "models/repository/flights/1/model.onnx"} <= files
    rooms = {file.partition("/")[0] for file in files}
    assert rooms - {"bentofile.yaml", "README.md", "requirements-serving.lock"} == {"service", "models"}


def pins(lock):
    """Names and versions of a lock, `name==version`."""
    return set(re.findall(r"^[a-z0-9._-]+==[^\s;\\]+", lock, flags=re.MULTILINE | re.IGNORECASE))


def test_its_requirements_are_our_lock_with_hashes(built):
    locked = (built[1] / "env" / "python" / "requirements.txt").read_text()
    ours = (bento.ROOT / "requirements-serving.lock").read_text()
    assert pins(locked) == pins(ours)
    assert set(re.findall(r"--hash=sha256:[0-9a-f]{64}", locked)) == set(
        re.findall(r"--hash=sha256:[0-9a-f]{64}", ours)
    )
    names = {pin.partition("==")[0] for pin in pins(locked)}
    assert {"bentoml", "numpy", "pydantic"} <= names
    assert not names & {"torch", "polars", "onnx", "scikit-learn", "pandas"}


def test_its_container_does_not_run_as_root(built):
    dockerfile = (built[1] / "env" / "docker" / "Dockerfile").read_text()
    assert dockerfile.index("USER bentoml") < dockerfile.index("ENTRYPOINT [")


def test_it_serves_its_model_from_its_path(built):
    home, folder = built
    row = handmade.BINARY.example_row()
    with bento.served(folder, home) as url:
        assert ask(url, [row])[0]["probabilities"]["late"] == pytest.approx(handmade.late(row), abs=1e-6)
