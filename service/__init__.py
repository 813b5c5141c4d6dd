"""A model in, predictions out. ``bentoml serve`` starts ``service:Rowcast``."""

from typing import Any

__all__ = ["Rowcast"]


def __getattr__(name: str) -> Any:
    """Build the service when it is first asked for: parts of this package are useful without a repository."""
    if name != "Rowcast":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from service.app import Rowcast

    return Rowcast
