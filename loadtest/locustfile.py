"""Locust users that ask a served model for predictions: ``locust -f loadtest/locustfile.py --host
http://127.0.0.1:3000``.

For exploring by hand, with Locust's page. Each user stands for ``--user-rate`` requests a second, which leave when they
are due, whether or not earlier ones have been answered; latencies count from then, so the page's percentiles are those
of an open loop (:mod:`rowcast.loadtest.by_hand.open_loop`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from locust import events
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from rowcast.loadtest.by_hand.arrivals import rows_of
from rowcast.loadtest.by_hand.bodies import INFER, PROTOCOLS, Asked, asked
from rowcast.loadtest.by_hand.ending import Promise
from rowcast.loadtest.by_hand.open_loop import OpenLoopUser
from rowcast.loadtest.by_hand.options import checked
from rowcast.loadtest.by_hand.page import check_what_the_page_sends
from rowcast.loadtest.by_hand.processes import count_in_worker, judge_in_master
from rowcast.loadtest.payloads import Payloads
from rowcast.loadtest.served import NotServed, ServedModel, model_path, only_name
from rowcast.models.access import key_of_environment

DISTINCT_REQUESTS = 128
"""Made before the first leaves, for all users: making rows meanwhile would be taken for latency."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: Any) -> None:
    """Add our arguments to Locust's own, and so to its page.

    Every one stays text: see :mod:`rowcast.loadtest.by_hand.options`.
    """
    add = parser.add_argument
    which = "NAME, NAME:VERSION or NAME@ALIAS; needed only where several are served"
    add("--model", env_var="LOCUST_MODEL", type=checked("model"), default="", help=which)
    mix = "rows in a request: 1, or a mix such as 1,8,64"
    add("--rows", env_var="LOCUST_ROWS", type=checked("rows"), default="1", help=mix)
    add("--protocol", env_var="LOCUST_PROTOCOL", choices=PROTOCOLS, default="rows", help="what is spoken")
    rate = "requests a second of each user"
    add("--user-rate", env_var="LOCUST_USER_RATE", type=checked("user_rate"), default="10", help=rate)
    ramp = "for so long the rate of a user rises evenly: 30s"
    add("--ramp", env_var="LOCUST_RAMP", type=checked("ramp"), default="0", help=ramp)
    add("--grpc-host", env_var="LOCUST_GRPC_HOST", default="", help="default: port 3001 of the host")
    promise = "exit code 1 where p99 is above so many milliseconds, 0 where not"
    add("--promise-p99-ms", env_var="LOCUST_PROMISE_P99_MS", type=checked("promise_p99_ms"), help=promise)
    errors = "share of requests that may fail with it: 0.001"  # argparse wants % twice, and the page shows both
    add("--promise-errors", env_var="LOCUST_PROMISE_ERRORS", type=checked("promise_errors"), default="0", help=errors)


@events.init.add_listener  # type: ignore[untyped-decorator]
def check_page(environment: Any, web_ui: Any = None, **_: Any) -> None:
    """Refuse a run of the page whose options say nothing that they may."""
    if web_ui is not None:
        check_what_the_page_sends(environment, web_ui)


@events.init.add_listener  # type: ignore[untyped-decorator]
def keep_promise(environment: Any, runner: Any, **_: Any) -> None:
    """Judge the run when Locust ends, in the process that leads it."""
    promise = Promise()
    if isinstance(runner, WorkerRunner):
        count_in_worker(promise, environment, runner)
    elif isinstance(runner, MasterRunner):
        judge_in_master(promise, environment, runner)
    else:
        environment.events.request.add_listener(promise.count)
        environment.events.quitting.add_listener(lambda environment, **_: promise.end(environment))


class Predictor(OpenLoopUser):
    """A user who asks for predictions."""

    host = "http://127.0.0.1:3000"

    def on_start(self) -> None:
        """Read the options, and ask the service what the model takes.

        A user who cannot find out stops, and that is a failure.
        """
        super().on_start()
        options = self.options
        key = key_of_environment()
        self.key = {"Authorization": f"Bearer {key}"} if key else {}
        name = options.model or self._read("/models", only_name)
        served: ServedModel = self._read(model_path(name), lambda said: ServedModel.of(said, name))
        self.requests = _requests(served, options.protocol, options.rows)
        self.turn = 17 * self.seed
        self.call: Any = None
        if options.protocol == "grpc":
            self.call = _grpc_call(options.grpc_host or f"{urlsplit(self.host).hostname}:3001")

    def ask(self, since: Callable[[], float]) -> None:
        """Ask for predictions; an answer that is not one to the rows is a failure."""
        request = self.requests[self.turn % len(self.requests)]
        self.turn += 1
        if self.call is not None:
            self._ask_grpc(request, since)
            return
        with self.client.post(
            request.path, data=request.body, headers={**request.headers, **self.key}, catch_response=True
        ) as response:
            if response.status_code == 200 and (fault := request.fault(response.content)):
                response.failure(fault)
            response.request_meta["response_time"] = since()

    def give_up(self, waited_ms: float) -> None:
        """Report a request that had no answer when the run ended as failed."""
        over_grpc = self.call is not None
        self.environment.events.request.fire(
            request_type="gRPC" if over_grpc else "POST",
            name=self.requests[0].path,
            response_time=waited_ms,
            response_length=0,
            exception=TimeoutError("no answer when the run ended"),
            context={},
        )

    def _ask_grpc(self, request: Asked, since: Callable[[], float]) -> None:
        error: Exception | None = None
        answer = b""
        try:
            answer = self.call(request.body, timeout=60, metadata=[(n.lower(), v) for n, v in self.key.items()])
            if fault := request.fault(answer):
                error = ValueError(fault)
        except Exception as failure:  # noqa: BLE001 - whatever it is, Locust counts it
            error = failure
        self.environment.events.request.fire(
            request_type="gRPC",
            name=INFER,
            response_time=since(),
            response_length=len(answer),
            exception=error,
            context={},
        )

    def _read(self, path: str, read: Any) -> Any:
        with self.client.get(path, headers=self.key, catch_response=True) as response:
            try:
                if response.status_code == 200:
                    return read(response.json())
            except (NotServed, ValueError) as error:
                response.failure(str(error))
        raise StopUser


_made: dict[tuple[str, str, str, str], list[Asked]] = {}


def _requests(served: ServedModel, protocol: str, rows: str) -> list[Asked]:
    """What is sent in turn, made once."""
    key = (served.asked, served.sha256, protocol, rows)
    if key not in _made:
        mix, payloads, chance = rows_of(rows), Payloads(served.signature), random.Random(0)
        drawn = ([payloads.row() for _ in range(chance.choice(mix))] for _ in range(DISTINCT_REQUESTS))
        _made[key] = [asked(protocol, served, rows) for rows in drawn]
    return _made[key]


def _grpc_call(address: str) -> Any:
    """The call of ModelInfer, which takes and gives bytes."""
    import grpc
    from grpc.experimental import gevent as grpc_gevent

    grpc_gevent.init_gevent()
    return grpc.insecure_channel(address).unary_unary(INFER)
