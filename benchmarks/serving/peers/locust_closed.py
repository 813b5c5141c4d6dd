"""Locust's own user: it waits for an answer before it asks again, and is timed from when it asked."""

from __future__ import annotations

import os
from pathlib import Path

from locust import FastHttpUser, constant, task


class Closed(FastHttpUser):  # type: ignore[misc]
    """Asks one after the other, without a break."""

    wait_time = constant(0)
    body = Path(os.environ["BODY"]).read_bytes() if "BODY" in os.environ else b""

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """One request."""
        self.client.post(os.environ["PREDICT"], data=self.body, headers={"Content-Type": "application/json"})
