"""What middleware costs: the service with API keys, with the access log, and with traces, beside itself without.

Each is a service of its own on one core, the client on the other; rounds alternate, and those that are not measured are
held still. The model, the rows and the client are those of `benchmarks.serving.compare`.

    make bench-middleware
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.cells import RESULTS, machine
from benchmarks.serving.compare import trained_model
from benchmarks.serving.harness.contenders import OURS
from benchmarks.serving.harness.duel import BODIES, Load, Plan, Running
from benchmarks.serving.harness.processes import pinned
from rowcast.loadtest.payloads import Payloads

STORE = RESULTS / "middleware.md"
LOADS = (Load(1, 1), Load(32, 1))
KEY = "of the benchmark alone"


@dataclass(frozen=True)
class Variant:
    """A service with one kind of middleware."""

    title: str
    variables: Mapping[str, str] = field(default_factory=dict)
    header: str = ""


def variants(home: Path, collector: int) -> list[Variant]:
    """What is compared; the first is what the others are measured against."""
    keys = home / "keys.txt"
    keys.write_text(f"bench {hashlib.sha256(KEY.encode()).hexdigest()}\n")
    traces = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
        "OTEL_TRACES_SAMPLER": "traceidratio",
    }
    return [
        Variant("nothing"),
        Variant("API keys", {"ROWCAST_API_KEYS": str(keys)}, f"X-API-Key: {KEY}\r\n"),
        Variant("access log", {"ROWCAST_ACCESS_LOG": "on"}),
        Variant("traces, 1 in 100", {**traces, "OTEL_TRACES_SAMPLER_ARG": "0.01"}),
        Variant("traces, all", {**traces, "OTEL_TRACES_SAMPLER_ARG": "1"}),
    ]


@contextmanager
def collecting(take: Callable[[bytes, str], None] = lambda body, encoding: None) -> Iterator[int]:
    """A collector of traces; its port. ``take`` is told each body and its content encoding."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            take(body, self.headers.get("content-encoding", ""))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> int:
    """Measure, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each")
    given = parser.parse_args()
    plan = Plan(given.seconds, given.rounds, 3)
    model = trained_model()
    cores = sorted(os.sched_getaffinity(0))
    lines = [
        "# What middleware costs",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. One worker on one core; one-row requests; {plan.rounds} "
            f"alternating rounds of {plan.seconds:g} s, medians. *Times*: requests/s beside those without any."
        ),
        *(
            "",
            "| | connections | requests/s | times | p99, ms | server CPU, µs a request |",
            "|---|---|---|---|---|---|",
        ),
    ]
    with ExitStack() as stack:
        stack.enter_context(pinned(cores[0]))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        compared = variants(home, stack.enter_context(collecting()))
        services = []
        for one in compared:
            service = Running(OURS, model, cores[-1], {**one.variables, "BENTOML_HOME": str(home / one.title)})
            stack.callback(service.server.end)
            service.rest()
            services.append(service)
        for load in LOADS:
            payloads = Payloads(model.manifest.signature, rows=1, seed=0)
            bodies = [payloads.body() for _ in range(BODIES)]
            found: list[list[dict[str, Any]]] = [[] for _ in compared]
            for _ in range(plan.rounds):
                for one, service, results in zip(compared, services, found, strict=True):
                    requests = [
                        service.endpoint.post(OURS.path, body).replace(b"\r\n", f"\r\n{one.header}".encode(), 1)
                        for body in bodies
                    ]
                    results.append(service.measure_requests(load, requests, plan))
            for one, results in zip(compared, found, strict=True):
                if any(result["failures"] for result in results):
                    raise SystemExit(f"{one.title}: {sum(result['failures'] for result in results)} requests failed")
                lines.append(row(one.title, load, results, found[0]))
                print(lines[-1], file=sys.stderr)
    text = "\n".join(lines) + "\n"
    STORE.write_text(text)
    print(text)
    return 0


def row(title: str, load: Load, results: list[dict[str, Any]], bare: list[dict[str, Any]]) -> str:
    """A line of the table."""
    rate, p99, cpu = (statistics.median(one[key] for one in results) for key in ("rate", "p99_ms", "server_cpu_us"))
    times = statistics.median(one["rate"] / other["rate"] for one, other in zip(results, bare, strict=True))
    return f"| {title} | {load.connections} | {rate:,.0f} | {times:.2f} | {p99:.1f} | {cpu:.0f} |"


if __name__ == "__main__":
    sys.exit(main())
