from __future__ import annotations

import subprocess
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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    home = tmp_path_factory.mktemp("tls")
    made, key = home / "certificate.pem", home / "key.pem"
    say = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    say += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    try:
        subprocess.run(say, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    return made, key
