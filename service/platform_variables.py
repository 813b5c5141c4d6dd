"""What platforms say to a container: the variables that name its port and its routes, and the word ``serve``.

Sources: Vertex AI, "Custom container requirements for prediction" (``AIP_*``); Amazon SageMaker, "Custom inference code
with hosting services" and "Multi-container endpoints" (``docker run IMAGE serve``, ``SAGEMAKER_BIND_TO_PORT``).

It imports nothing but the standard library, because the image's entry point reads it before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DEFAULT_PORT = 3000
SAGEMAKER_PORT = 8080
_BOUND = "SAGEMAKER_BIND_TO_PORT"
_AIP_PORT = "AIP_HTTP_PORT"
_AIP_HEALTH = "AIP_HEALTH_ROUTE"
_AIP_PREDICT = "AIP_PREDICT_ROUTE"
_AIP_STORAGE = "AIP_STORAGE_URI"


class EnvironmentRefused(ValueError):
    """A variable of a platform does not hold what the platform says that it holds."""


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes that Vertex AI asks for."""

    health: str | None = None
    predict: str | None = None


def port_of(variables: Mapping[str, str], arguments: Sequence[str] = ()) -> tuple[int, str]:
    """The port that a platform asks for, and what says so; the default one where none does.

    Args:
        variables: the environment.
        arguments: what the container was started with.

    Raises:
        EnvironmentRefused: it is no port.
    """
    for name in (_AIP_PORT, _BOUND):
        if value := variables.get(name, "").strip():
            return _port(name, value), name
    if _is_serve(arguments):
        return SAGEMAKER_PORT, "serve, as SageMaker starts it"
    return DEFAULT_PORT, ""


def for_sagemaker(variables: Mapping[str, str], arguments: Sequence[str]) -> bool:
    """Whether it is SageMaker that starts the container."""
    return bool(variables.get(_BOUND)) or _is_serve(arguments)


def _is_serve(arguments: Sequence[str]) -> bool:
    return list(arguments[:1]) == ["serve"]


def routes_of(variables: Mapping[str, str]) -> Routes:
    """The routes that Vertex AI asks for.

    Raises:
        EnvironmentRefused: one is no path, or both are the same.
    """
    found: dict[str, str | None] = {}
    for name in (_AIP_HEALTH, _AIP_PREDICT):
        value = variables.get(name, "").strip()
        if value and (not value.startswith("/") or any(sign in value for sign in " ?#\r\n")):
            raise EnvironmentRefused(f"{name} must be a path such as /health, got {value[:100]!r}")
        found[name] = value or None
    if found[_AIP_HEALTH] is not None and found[_AIP_HEALTH] == found[_AIP_PREDICT]:
        raise EnvironmentRefused(f"{_AIP_HEALTH} and {_AIP_PREDICT} must differ, got {found[_AIP_HEALTH]!r} for both")
    return Routes(found[_AIP_HEALTH], found[_AIP_PREDICT])


def health_routes(variables: Mapping[str, str]) -> frozenset[str]:
    """The route that asks whether the models are ready, if Vertex AI names one; none where its variables are wrong."""
    try:
        health = routes_of(variables).health
    except EnvironmentRefused:  # said when the service starts
        return frozenset()
    return frozenset() if health is None else frozenset({health})


def log_lines(variables: Mapping[str, str], *, several: bool) -> list[str]:
    """Lines for the log: what is heeded of the variables, and what is not.

    Args:
        variables: the environment.
        several: whether several models are served.

    Raises:
        EnvironmentRefused: a route is none.
    """
    lines = []
    routes = routes_of(variables)
    if routes.health is not None:
        lines.append(f"{_AIP_HEALTH}: {routes.health} says whether the models are ready")
    if routes.predict is not None and several:
        lines.append(f"{_AIP_PREDICT}: {routes.predict} is for one model, got several: name one with ROWCAST_MODELS")
    elif routes.predict is not None:
        lines.append(f"{_AIP_PREDICT}: {routes.predict} takes instances")
    if variables.get(_AIP_STORAGE):
        lines.append(f"{_AIP_STORAGE} is not read: the models served are those of ROWCAST_REPOSITORY")
    return lines


def _port(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) < 2**16):
        raise EnvironmentRefused(f"{name} must be a port from 1 to 65535, got {value[:40]!r}")
    return int(value)
