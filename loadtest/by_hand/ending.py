"""The promise at the end of a run without Locust's page: its exit code, from percentiles that are not rounded."""

from __future__ import annotations

import sys
from typing import Any

from rowcast.loadtest.openloop import histogram

BROKEN, VOID = 1, 3


class Promise:
    """Counts requests, and judges them when Locust ends."""

    def __init__(self) -> None:
        self.latencies = histogram()
        self.failed = 0
        self.requests = 0

    def count(self, request_type: str, response_time: float, exception: Any = None, **_: Any) -> None:
        """Count a request, unless it is one that asks what the model takes."""
        if request_type == "GET":
            return
        self.requests += 1
        self.failed += exception is not None
        self.latencies.record_value(max(1, round(response_time * 1000)))

    def judge(self, p99_ms: float, errors: float) -> tuple[int, str]:
        """Exit code, and the verdict in a line."""
        if not self.requests:
            return VOID, "VOID no request was sent"
        p99 = self.latencies.get_value_at_percentile(99) / 1000
        told = f"p99 is {p99:.2f} ms of {p99_ms:g} ms, {self.failed:,} of {self.requests:,} requests failed"
        kept = p99 <= p99_ms and self.failed <= errors * self.requests
        return (0, f"KEPT {told}") if kept else (BROKEN, f"BROKEN {told}")

    def end(self, environment: Any) -> None:
        """Say the verdict of a run that has a promise, and have Locust end with its exit code."""
        options = environment.parsed_options
        if options.promise_p99_ms:
            environment.process_exit_code, line = self.judge(options.promise_p99_ms, options.promise_errors)
            print(line, file=sys.stderr)
