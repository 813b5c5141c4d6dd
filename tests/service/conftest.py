from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.servers import Server, publish_delay, publish_flights, serving


@pytest.fixture(scope="session")
def one_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of ``flights:1``."""
    root = tmp_path_factory.mktemp("one") / "repository"
    publish_flights(root)
    return root


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of ``flights:1``, ``flights:2`` and ``delay:1``."""
    root = tmp_path_factory.mktemp("two") / "repository"
    publish_flights(root, versions=2)
    publish_delay(root)
    return root


@pytest.fixture(scope="session")
def server(one_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of one model."""
    with serving(one_model, tmp_path_factory.mktemp("home"), max_body="2MiB") as running:
        yield running


@pytest.fixture(scope="session")
def typed_server(two_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of two models by two workers, whose predict routes BentoML's typed API answers."""
    home = tmp_path_factory.mktemp("typed")
    with serving(two_models, home, front="off", models="flights:1,flights:2,delay", workers="2") as running:
        yield running
