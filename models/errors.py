"""Every error Rowcast raises on purpose.

RowcastError                a sentence for the person who can act on it; never shown with a trace
├── TableError              the table breaks a rule (names row, column and the way out)
├── ConfigError             a setting is outside its range (names field, value and valid range)
├── DeviceError             a device was demanded and is not there
├── TrainingError           the fit cannot go on (a non-finite loss, say)
├── MissingPackage          a package of an extra is not installed (names the line that installs it); an ImportError too
├── ModelError              something about a stored model
│   ├── ModelNotFound       no such name or version
│   ├── ModelRefused        a model whose files are not what was published
│   └── ExportRefused       ONNX Runtime and PyTorch disagree: nothing is published
└── RequestError            a request the service refuses, with the path of every fault
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RowcastError(Exception):
    """Base of the family: its text is safe and useful to show."""


class TableError(RowcastError):
    """The table breaks a rule."""


class ConfigError(RowcastError):
    """A setting is outside its range."""


class DeviceError(RowcastError):
    """A demanded device is absent."""


class TrainingError(RowcastError):
    """The fit cannot go on."""


class MissingPackage(RowcastError, ImportError):
    """A package that is installed only where it is asked for is absent; ``name`` says which."""


class ModelError(RowcastError):
    """Something is wrong with a stored model."""


class ModelNotFound(ModelError):
    """No model of that name or version."""


class ModelRefused(ModelError):
    """A model whose files are not the published ones."""


class ExportRefused(ModelError):
    """The exported graph does not answer as the trained network does."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request, and where: ``rows[3].distance``."""

    path: str
    message: str


class RequestError(RowcastError):
    """A request the service refuses.

    ``status`` is the HTTP status; ``faults`` name at most :data:`MAX_FAULTS` places, in the order of the body.
    """

    MAX_FAULTS = 50

    def __init__(self, message: str, faults: Sequence[Fault] = (), status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.faults = tuple(faults[: self.MAX_FAULTS])
