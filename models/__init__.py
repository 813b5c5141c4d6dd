"""What a model is, and where models live. Imports neither ``training`` nor ``service``."""

from models import quiet as quiet  # isort: skip - before the libraries that would send
from models.errors import (
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
from models.repository import Manifest, Repository, StoredModel
from models.session import Predictions, Session
from models.signature import Column, Kind, Signature, Task

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
