"""The promise at the end of a run without Locust's page: its exit code, from percentiles that are not rounded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rowcast.loadtest.by_hand.options import option
from rowcast.loadtest.openloop import histogram
from rowcast.models.errors import ConfigError

BROKEN, VOID = 1, 3
PREDICTIONS = ("POST", "gRPC")
"""Types of requests that are promised something."""
_OVER = ("ready", "cleanup", "stopping", "stopped")
"""States of a runner that has nothing to stop."""


class Promise:
    """Counts requests, and judges them when Locust ends."""

    def __init__(self) -> None:
        self.latencies = histogram()
        self.failed = 0
        self.requests = 0
        self.lost = 0
        """Workers of several processes that did not send all they counted."""

    def count(self, request_type: str, response_time: float, exception: Any = None, **_: Any) -> None:
        """Count a request for predictions; others ask what the model takes, or say why a user cannot begin."""
        if request_type not in PREDICTIONS:
            return
        self.requests += 1
        self.failed += exception is not None
        self.latencies.record_value(max(1, round(response_time * 1000)))

    def taken(self) -> tuple[bytes, int, int]:
        """What was counted since this was asked last, for another process to add: latencies, failed, requests."""
        counted = self.latencies.encode(), self.failed, self.requests
        self.latencies.reset()
        self.failed = self.requests = 0
        return counted

    def add(self, counted: Sequence[Any] | None) -> None:
        """Add what another process counted."""
        if counted:
            latencies, failed, requests = counted
            self.latencies.decode_and_add(latencies)
            self.failed += failed
            self.requests += requests

    def judge(self, p99_ms: float, errors: float) -> tuple[int, str]:
        """Exit code, and the verdict in a line."""
        if self.lost:
            return VOID, f"VOID {self.lost:,} of Locust's workers did not say what they counted"
        if not self.requests:
            return VOID, "VOID no request was sent"
        p99 = self.latencies.get_value_at_percentile(99) / 1000
        told = f"p99 is {p99:.2f} ms of {p99_ms:g} ms, {self.failed:,} of {self.requests:,} requests failed"
        kept = p99 <= p99_ms and self.failed <= errors * self.requests
        return (0, f"KEPT {told}") if kept else (BROKEN, f"BROKEN {told}")

    def end(self, environment: Any) -> None:
        """Say the verdict of a run that has a promise, and have Locust end with its exit code."""
        if environment.runner.state not in _OVER:  # of Ctrl-C: what is under way is waited for all the same
            environment.runner.quit()
        try:
            p99_ms, errors = (option(environment.parsed_options, f"promise_{what}") for what in ("p99_ms", "errors"))
            verdict = self.judge(p99_ms, errors) if p99_ms else None
        except ConfigError as error:
            verdict = VOID, f"VOID {error}"
        if verdict:
            environment.process_exit_code, line = verdict
            print(line, file=sys.stderr)
