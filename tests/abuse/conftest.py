"""One service for all that it must withstand; after each case it must be as good as before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.abuse.exchange import Answer, in_chunks, request, say
from tests.service.hostile_payloads import GOOD
from tests.service.servers import Server, publish_flights, serving

MAX_BODY = 2 * 2**20


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of ``flights:1``."""
    root = tmp_path_factory.mktemp("abused") / "repository"
    publish_flights(root)
    return root


@pytest.fixture(scope="session")
def abused(repository: Path) -> Iterator[Server]:
    """A service of it, by one worker."""
    with serving(repository, repository.parent / "home", max_body=str(MAX_BODY)) as server:
        yield server


@pytest.fixture(scope="session")
def good_answer(abused: Server) -> Answer:
    """What a good request gets while all is well."""
    answer = say(abused, request(GOOD))
    assert answer.status == 200
    return answer


@pytest.fixture(scope="session")
def worker(abused: Server) -> psutil.Process:
    """Its only worker."""
    (worker,) = psutil.Process(abused.process.pid).children()
    return worker


@pytest.fixture
def service(abused: Server, good_answer: Answer, worker: psutil.Process) -> Iterator[Server]:
    """The service; when the test is over, it must be live and give the same good answer, byte for byte."""
    yield abused
    assert say(abused, request(b"", "/livez", method="GET")).status == 200
    for sent in (request(GOOD), in_chunks(GOOD)):
        assert say(abused, sent).body == good_answer.body
    assert worker.is_running()  # it is no new one
