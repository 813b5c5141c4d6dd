"""The repository's commands: its index, and the one that has a version served, for who may change what is served."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from rowcast.models.errors import RequestError
from rowcast.models.names import is_model_name, is_version
from rowcast.service.caller import Caller
from rowcast.service.engine.registry import LOADING, Registry
from rowcast.service.errors import brief

_CHANGES_NOTHING = "what is served is settled when this process starts: start it anew"


class Load(NamedTuple):
    """What is to be served."""

    name: str
    version: int | None = None
    """None: the newest."""
    allow_signature_change: bool = False

    @classmethod
    def read(cls, name: str, body: bytes) -> Load:
        """Of the body of a command: ``{"parameters": {"version": "3", "allow_signature_change": true}}``, or nothing.

        Parameters that other servers know, such as ``config``, say nothing here.

        Raises:
            RequestError: it is none.
        """
        content = _content(body)
        parameters = content.get("parameters", {}) if isinstance(content, dict) else None
        if not isinstance(parameters, dict):
            raise RequestError('the body must be an object {"parameters": {...}}, got something else')
        return cls.of(name, parameters.get("version"), parameters.get("allow_signature_change", False))

    @classmethod
    def of(cls, name: str, version: object, allow: object) -> Load:
        """Of parameters, whatever type they came in.

        Raises:
            RequestError: they are none.
        """
        if not is_model_name(name):
            raise RequestError(f"no model can be called {brief(name)}", status=404)
        text = str(version)
        if version is not None and (isinstance(version, bool) or not is_version(text)):
            raise RequestError(f"version must be a whole number from 1 on, got {brief(version)}")
        if not isinstance(allow, bool):
            raise RequestError(f"allow_signature_change must be true or false, got {brief(allow)}")
        return cls(name, None if version is None else int(text), allow)


def wants_ready(body: bytes) -> bool:
    """Whether the index is to list what is ready alone: ``{"ready": true}``; an empty body wants all.

    Raises:
        RequestError: it says neither.
    """
    content = _content(body)
    if not isinstance(content, dict):
        raise RequestError('the body must be an object {"ready": true}, or empty, got something else')
    ready = content.get("ready")
    if ready is not None and not isinstance(ready, bool):
        raise RequestError(f"ready must be true or false, got {brief(ready)}")
    return ready is True


def _content(body: bytes) -> Any:
    try:
        return orjson.loads(body) if body.strip() else {}
    except ValueError:
        raise RequestError("the body must be JSON, or empty") from None


async def load(registry: Registry, asked: Load, caller: Caller) -> None:
    """Have a version served; nothing is to be done, and no right is needed, where it is.

    Args:
        registry: of the worker.
        asked: what is to be served.
        caller: who asks.

    Raises:
        RequestError: 403 for who may not; 404 for a model that is not there; 400 with the reason why it is not served.
    """
    if not registry.ready:
        raise RequestError(LOADING, status=503)
    if registry.changes is not None:
        await registry.changes.settle()
    served = registry.models.get(asked.name)
    if served is not None and _is_served(registry, asked, served.version):
        return
    if served is None and not any(note.name == asked.name for note in registry.notes):
        raise RequestError(f"no model {brief(asked.name)} is served, nor waits to be", status=404)
    if registry.changes is None:
        raise RequestError(_CHANGES_NOTHING)
    who = registry.changes.who(caller)
    why = await registry.changes.promote(
        asked.name, asked.version, allow_signature_change=asked.allow_signature_change, who=who
    )
    if why:
        raise RequestError(f"{asked.name} is not loaded: {why}")


def _is_served(registry: Registry, asked: Load, version: int) -> bool:
    """Whether what is asked for is what is served.

    Raises:
        RequestError: 400: the newest was tried by itself already, and why it is not served.
    """
    if asked.version is not None:
        return asked.version == version
    newer = [note for note in registry.notes if note.name == asked.name and note.version > version]
    refused = [note for note in newer if note.state == "UNAVAILABLE"]
    newest = max(refused, key=lambda note: note.version, default=None)
    may_try = asked.allow_signature_change or registry.settings.reload == "manual"
    if newest is not None and newest.kind != "waits" and not may_try:
        raise RequestError(f"{asked.name} is not loaded: {newest.reason}")
    tried = registry.trials.get(asked.name)
    return not newer and (tried is None or tried.trial.version < version)
