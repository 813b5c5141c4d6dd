"""What a model is, and where models live. Imports neither ``training`` nor ``service``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rowcast.models import quiet as quiet  # isort: skip - before the libraries that would send
from rowcast.models.errors import (
    ConfigError,
    DeviceError,
    ExportRefused,
    Fault,
    ModelError,
    ModelNotFound,
    ModelRefused,
    RequestError,
    RowcastError,
    TableError,
    TrainingError,
)

if TYPE_CHECKING:
    from rowcast.models.repository import Manifest, Repository, StoredModel
    from rowcast.models.session import Predictions, Session
    from rowcast.models.signature import Column, Kind, Signature, Task

__all__ = [
    "Column",
    "ConfigError",
    "DeviceError",
    "ExportRefused",
    "Fault",
    "Kind",
    "Manifest",
    "ModelError",
    "ModelNotFound",
    "ModelRefused",
    "Predictions",
    "Repository",
    "RequestError",
    "RowcastError",
    "Session",
    "Signature",
    "StoredModel",
    "TableError",
    "Task",
    "TrainingError",
]
_LATER = {
    **dict.fromkeys(("Manifest", "Repository", "StoredModel"), "repository"),
    **dict.fromkeys(("Predictions", "Session"), "session"),
    **dict.fromkeys(("Column", "Kind", "Signature", "Task"), "signature"),
}


def __getattr__(name: str) -> Any:
    """What needs NumPy, pydantic and ONNX Runtime is imported when it is asked for: every process imports this room,
    and some, such as the first one in a container, need none of them."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
