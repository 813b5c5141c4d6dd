"""What a service is asked besides the load: what it serves, and whether the answer to one fixed row stays the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson

from rowcast.loadtest.connection import Endpoint, fetch
from rowcast.loadtest.payloads import probe_body
from rowcast.loadtest.served import NotServed, ServedModel, model_path, only_name
from rowcast.models.printable import printable

TIMEOUT_S = 5.0
"""An answer is waited for no longer; a request of the load, twice the promise where that is longer."""
_SHOWN = 200
"""Characters of what a service says."""


async def describe(endpoint: Endpoint, model: str | None) -> ServedModel:
    """Ask the service what it serves as ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``, or under the only name there is.

    Raises:
        NotServed: nobody answers, or there is no such model, or several and none was named.
    """
    name = only_name(await _get(endpoint, "/models")) if model is None else model
    return ServedModel.of(await _get(endpoint, model_path(name)), name)


async def _get(endpoint: Endpoint, path: str) -> object:
    try:
        status, body = await fetch(endpoint, endpoint.get(path), timeout_s=TIMEOUT_S)
    except TimeoutError:
        raise NotServed(f"{endpoint.authority} did not answer GET {path} within {TIMEOUT_S:g} s") from None
    except OSError as error:
        raise NotServed(f"nobody answers at {endpoint.authority} ({error}): is the service started?") from None
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if status != 200:
        said = answer.get("error") if isinstance(answer, dict) else None
        words = f": {printable(str(said))[:_SHOWN]}" if said else ""
        raise NotServed(f"GET {path} was answered with status {status}{words}")
    return answer


async def version_of(endpoint: Endpoint) -> str | None:
    """The version of Rowcast that a service is of; None where it does not tell."""
    try:
        told = await _get(endpoint, "/v2")
    except NotServed:
        return None
    if not isinstance(told, dict) or told.get("name") != "rowcast" or "version" not in told:
        return None
    return printable(str(told["version"]))[:_SHOWN]


async def changed(endpoint: Endpoint, served: ServedModel) -> str | None:
    """How what the service serves differs from before; None where it does not, or the service cannot be asked."""
    try:
        now = await describe(endpoint, served.asked or served.name)
    except NotServed:
        return None  # a service that went away shows in the figures
    if now == served:
        return None
    return f"the service serves {now.name}:{now.version} (sha256 {now.sha256[:12]}) now, another than at first"


@dataclass(slots=True)
class Probe:
    """One fixed row whose answer must stay the same, whatever load the service is under."""

    endpoint: Endpoint
    served: ServedModel
    first: bytes | None = None
    failures: int = 0
    disagreement: str | None = None

    async def ask(self) -> None:
        """Ask once, and remember the first failure or difference."""
        request = self.endpoint.post(self.served.predict_path, probe_body(self.served.signature))
        try:
            status, body = await fetch(self.endpoint, request, timeout_s=TIMEOUT_S)
        except OSError:
            status, body = 0, b""
        if status != 200:
            self.failures += 1
            return
        wrong = self.served.fault(body, rows=1)
        if wrong is None and self.first is not None:
            wrong = self.served.difference(self.first, body)
        elif wrong is None:
            self.first = body
        self.disagreement = self.disagreement or wrong

    async def ask_now_and_then(self, every_s: float) -> None:
        """Ask every ``every_s``, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.ask()
