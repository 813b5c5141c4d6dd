"""A running service takes what is published, in all of its workers, and nothing that it should not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.service.live.versions import STOPS, late, nan_graph, publish, publish_graph
from tests.service.processes import until, workers
from tests.service.servers import NO_TLS, Server, serving
from tests.support import handmade

ROWS = json.dumps({"rows": [STOPS]}).encode()
SECONDS = 60.0
"""How long a change may take on a busy machine; on an idle one it takes two."""


class Watched:
    """A service, and what its workers say."""

    def __init__(self, server: Server, key: str = "") -> None:
        self.server = server
        self.headers = {"x-api-key": key} if key else {}

    def answers(self, path: str = "/models/flights/predict", times: int = 8) -> set[tuple[int, float]]:
        """The version, or else the status, and the probability of "late" that some connections are told."""
        told = set()
        for _ in range(times):
            answer = httpx.post(self.server.url + path, content=ROWS, headers=self.headers, verify=NO_TLS, timeout=30)
            content = answer.json() if answer.status_code == 200 else {"version": answer.status_code}
            late = content["predictions"][0]["probabilities"]["late"] if "predictions" in content else 0.0
            told.add((content["version"], round(late, 5)))
        return told

    def serves(self, version: int, weight: float, path: str = "/models/flights/predict") -> None:
        """Wait until a version is served, by all workers."""
        expected = {(version, round(late(weight), 5))}
        until(lambda: self.details()["models"] and self.answers(path) == expected, SECONDS)

    def get(self, path: str) -> Any:
        return httpx.get(self.server.url + path, headers=self.headers, verify=NO_TLS, timeout=30)

    def details(self) -> Any:
        return self.get("/readyz?verbose").json()

    def reason(self, version: int) -> str:
        """Wait until a version of flights is not served for a reason."""
        found: list[str] = []

        def told() -> bool:
            (model,) = (model for model in self.details()["models"] if model["name"] == "flights")
            found[:] = [
                f"{one['kind']}: {one['reason']}"
                for one in model["not_served"]
                if one["version"] == version and one["state"] == "UNAVAILABLE"
            ]
            return bool(found)

        until(told, SECONDS)
        return found[0]

    def index(self, version: str) -> str:
        """State and reason that the V2 repository's index tells of a version of flights."""
        told = self.server.post("/v2/repository/index", b"").json()
        return next((f"{one['state']}: {one['reason']}" for one in told if one["version"] == version), "")

    def load(self, name: str = "flights", **parameters: Any) -> httpx.Response:
        """Answer of the V2 repository's load call."""
        url = f"{self.server.url}/v2/repository/models/{name}/load"
        return httpx.post(url, json={"parameters": parameters}, headers=self.headers, verify=NO_TLS, timeout=120)


@contextmanager
def watched(root: Path, home: Path, **settings: str) -> Iterator[Watched]:
    with serving(root, home, workers="2", **settings) as server:
        until(lambda: server.log.read_text().count("Completed async startup hook") == 2, SECONDS)
        yield Watched(server)


def test_what_is_published_goes_live_in_all_workers_and_what_is_no_good_does_not(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    publish(root, 1.0)
    with watched(root, tmp_path / "home") as service:
        server = service.server
        publish(root, 2.0)
        service.serves(2, 2.0)

        publish_graph(root, nan_graph())
        assert service.reason(3).startswith("not_finite: it answers rows whose every value is missing with a number")
        # the other worker may know it a little later
        until(lambda: service.index("3").startswith("UNAVAILABLE: it answers rows"), SECONDS)
        until(lambda: 'rowcast_live_version{model="flights"} 2.0' in service.get("/metrics").text, SECONDS)
        refused = 'rowcast_refused_version{model="flights",reason="not_finite"} 3.0'
        until(lambda: refused in service.get("/metrics").text, SECONDS)

        (root / "flights/4").mkdir()  # somebody copies a version, and is not done
        assert service.reason(4).startswith("damaged: ")
        publish(root, 5.0, handmade.REGRESSION)
        assert "it is regression, no longer binary" in service.reason(5)
        assert service.answers() == {(2, round(late(2.0), 5))}

        shutil.rmtree(root / "flights/4")
        publish(root, 6.0)
        service.serves(6, 6.0)
        killed, *_ = workers(server.process.pid)
        psutil.Process(killed.pid).kill()
        until(lambda: killed.pid not in {one.pid for one in workers(server.process.pid)}, SECONDS)
        until(lambda: len(workers(server.process.pid)) == 2, SECONDS)
        shutil.rmtree(root / "flights/6")
        until(lambda: "though" in str(service.details()["models"][0]["warnings"]), SECONDS)
        service.serves(6, 6.0)

        publish(root, 1.5, name="other")
        service.serves(1, 1.5, "/models/other/predict")
        service.serves(6, 6.0, "/predict")
        shutil.rmtree(root / "other")
        until(lambda: server.post("/models/other/predict", ROWS).status_code == 404, SECONDS)

        allowed = service.load(version=5, allow_signature_change=True)
        assert (allowed.status_code, allowed.text) == (200, "{}")
        assert "interval" in str(service.get("/models/flights").json()["signature"])
        log = server.log.read_text()
    assert "Traceback" not in log
    assert log.count("flights:3 does not go live, and flights:2 is served on: it answers rows") == 1
    assert (
        'what is served has changed: {"model": "flights", "from": 1, "to": 2, "who": "auto", "why": "published"' in log
    )
