"""Every worker serves the same, those that take another's place too: the versions and the keys."""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from rowcast.models.rollout import read_rollout
from rowcast.service.middleware.keys import new_key
from tests.service.live.versions import publish, publish_graph, slow_graph
from tests.service.servers import NO_TLS, Server, publish_delay, publish_flights, serving


def workers(server: Server) -> set[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return {child for child in children if child.status() != psutil.STATUS_ZOMBIE}


def trials(server: Server) -> set[psutil.Process]:
    """The processes of a service in which versions are tried."""
    return {child for child in workers(server) if "rowcast.service.live.trial_process" in child.cmdline()}


def until(true: Callable[[], bool], server: Server, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)


def started(server: Server) -> int:
    return server.log.read_text().count("Completed async startup hook")


def test_what_was_settled_is_served_by_all_until_all_are_told_to_reload(tmp_path: Path) -> None:
    """Of two workers, one is replaced after a version was published, one damaged, one removed, and a key revoked."""
    repository, keys = tmp_path / "repository", tmp_path / "keys.txt"
    publish_flights(repository)
    publish_delay(repository)
    (repository / "flights/999").mkdir()  # the newest, and broken
    alice, bob = new_key("alice", keys), new_key("bob", keys)
    with serving(repository, tmp_path / "home", workers="2", api_keys=str(keys), reload="manual") as server:
        until(lambda: started(server) == 2, server)

        def answers(key: str = alice) -> set[tuple[int, str]]:
            """What some connections, to whichever worker, are told is served."""
            told = set()
            for _ in range(16):
                answer = httpx.get(f"{server.url}/models", headers={"x-api-key": key}, timeout=30, verify=NO_TLS)
                versions = re.findall(r'"name":"(\w+)","version":(\d+)', answer.text)
                told.add((answer.status_code, " ".join(":".join(found) for found in versions)))
            return told

        assert answers() == answers(bob) == {(200, "delay:1 flights:1")}
        assert "flights:999 is skipped, and flights:1 is served" in server.log.read_text()

        shutil.rmtree(repository / "flights/999")
        publish_flights(repository)  # version 2
        shutil.rmtree(repository / "delay")
        with open(repository / "flights/1/model.onnx", "ab") as graph:
            graph.write(b"x")
        keys.write_text(keys.read_text().splitlines()[0] + "\n")  # bob is out
        time.sleep(1)
        assert {status for status, _ in answers(bob)} == {401}
        first = next(iter(workers(server)))
        first.kill()
        until(lambda: started(server) == 3, server)
        assert answers() == {(200, "delay:1 flights:1")}
        assert {status for status, _ in answers(bob)} == {401}

        repository.rename(tmp_path / "away")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "told to reload, but what was served is served on" in server.log.read_text(), server)
        assert answers() == {(200, "delay:1 flights:1")}

        (tmp_path / "away").rename(repository)
        before = workers(server)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: started(server) == 5 and not before & workers(server), server)
        assert answers() == {(200, "flights:1")}  # 2 was never promoted
        log = server.log.read_text()
    assert "Traceback" not in log
    assert f"flights:1 is served on until it is replaced: {repository}/flights/1/model.onnx is not the file" in log
    changed = '{"model": "delay", "from": 1, "to": null, "who": "SIGHUP", "why": "settled anew"}'
    assert log.count(f"what is served has changed: {changed}") == 1
    assert [(one.before, one.after) for one in read_rollout(repository / "flights").history] == [(None, 1)]
    assert re.search(r"2 workers: as ROWCAST_WORKERS says; memory for \d+ of \d+ MiB \(", log)
    assert log.count("workers: as ROWCAST_WORKERS") == 1


def test_what_the_service_refuses_is_refused_at_sighup_while_it_is_looked_after(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    publish(repository, 1.0)
    with serving(repository, tmp_path / "home", workers="1") as server:
        until(lambda: started(server) == 1, server)
        version = publish_graph(repository, slow_graph(12_000_000)).manifest.version
        words = f"flights:{version} does not go live, and flights:1 is served on: a row must take"
        until(lambda: words in server.log.read_text(), server)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)  # it is tried again, for some seconds
        (before,) = workers(server) - trials(server)
        before.kill()
        until(lambda: started(server) == 2, server)
        words = f"flights:{version} is skipped, and flights:1 is served: flights:{version} cannot be served: a row must"
        until(lambda: words in server.log.read_text(), server)
        until(lambda: started(server) == 3, server)
        answer = httpx.get(f"{server.url}/models", timeout=30, verify=NO_TLS)
        assert re.findall(r'"name":"(\w+)","version":(\d+)', answer.text) == [("flights", "1")]
        log = server.log.read_text()
    assert "Traceback" not in log
    assert log.index("Completed async startup hook", log.index("does not go live")) < log.index(words)
