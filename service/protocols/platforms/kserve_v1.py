"""KServe's V1 protocol, which is TensorFlow Serving's REST API: ``/v1/models`` and what lies under it.

Sources: KServe, "Data Plane (V1)"; TensorFlow Serving, "RESTful API". A prediction is the object that rows are answered
with. ``inputs`` is taken as KServe takes it, for another name of ``instances``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import Header
from rowcast.service.protocols.platforms.json_forms import JsonForm

FORM = JsonForm(lists=("instances", "inputs"), empty=("parameters",), fixed=(("signature_name", "serving_default"),))
ROOT = "/v1/models"
ALIVE = b'{"status":"alive"}'
"""What its clients take for a sign of life, on ``/``."""


def asks_for_life(headers: Iterable[Header]) -> bool:
    """Whether a request for ``/`` is for a sign of life: what it accepts is said, and is no page."""
    accepted = b",".join(value for name, value in headers if name == b"accept")
    return accepted != b"" and b"html" not in accepted.lower()


def predict_paths(registry: Registry) -> dict[str, Any]:
    """Every path that takes instances, and the model behind it."""
    paths: dict[str, Any] = {f"{ROOT}/{name}:predict": served for name, served in registry.models.items()}
    for (name, version), served in registry.versions.items():
        paths[f"{ROOT}/{name}/versions/{version}:predict"] = served
    paths |= {f"{ROOT}/{name}@{alias}:predict": served for (name, alias), served in registry.aliases.items()}
    return paths


def pages(registry: Registry) -> dict[str, Any]:
    """What is told of the models once they are ready, by path."""
    content: dict[str, Any] = {ROOT: {"models": list(registry.models)}}
    for name in registry.models:
        content[f"{ROOT}/{name}"] = {"name": name, "ready": True}
    for name, alias in registry.aliases:
        content[f"{ROOT}/{name}@{alias}"] = {"name": name, "ready": True}
    for name, version in registry.versions:
        content[f"{ROOT}/{name}/versions/{version}"] = {"name": name, "ready": True}
    return content
