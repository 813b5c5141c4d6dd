"""Locust users that ask a served model for predictions: ``locust -f loadtest/locustfile.py --host
http://127.0.0.1:3000``.

For exploring by hand, with Locust's page. Locust is a closed loop (a user waits for an answer before asking again) and
rounds its percentiles, so it cannot tell whether a latency promise is kept; ``rowcast loadtest check`` can.
"""

from __future__ import annotations

import itertools
from typing import Any

from locust import FastHttpUser, constant, events, task
from locust.exception import StopUser

from rowcast.loadtest.payloads import Payloads
from rowcast.loadtest.served import NotServed, ServedModel, model_path, only_name
from rowcast.models.access import key_of_environment

_seeds = itertools.count()


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: Any) -> None:
    """Add ``--model`` and ``--rows`` to Locust's own arguments, and so to its page."""
    parser.add_argument(
        "--model", env_var="LOCUST_MODEL", default="", help="model to ask; needed only where several are served"
    )
    parser.add_argument("--rows", env_var="LOCUST_ROWS", type=int, default=1, help="rows in a request")


class Predictor(FastHttpUser):  # type: ignore[misc]
    """A user who asks for predictions one after the other, as fast as they come."""

    wait_time = constant(0)
    host = "http://127.0.0.1:3000"

    def on_start(self) -> None:
        """Ask the service what the model takes; a user who cannot find out stops, and that is a failure."""
        options = self.environment.parsed_options
        key = key_of_environment()
        self.key = {"Authorization": f"Bearer {key}"} if key else {}
        name = options.model or self._read("/models", only_name)
        self.rows = max(1, options.rows)
        self.served = self._read(model_path(name), ServedModel.of)
        self.payloads = Payloads(self.served.signature, rows=self.rows, seed=next(_seeds))

    @task  # type: ignore[untyped-decorator]
    def predict(self) -> None:
        """Ask for predictions; an answer that is not in the model's shape is a failure."""
        with self.client.post(
            self.served.predict_path,
            data=self.payloads.body(),
            headers={"Content-Type": "application/json", **self.key},
            catch_response=True,
        ) as response:
            if response.status_code == 200 and (fault := self.served.fault(response.content, self.rows)):
                response.failure(fault)

    def _read(self, path: str, read: Any) -> Any:
        with self.client.get(path, headers=self.key, catch_response=True) as response:
            try:
                if response.status_code == 200:
                    return read(response.json())
            except (NotServed, ValueError) as error:
                response.failure(str(error))
        raise StopUser
