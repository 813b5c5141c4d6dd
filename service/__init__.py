"""A model in, predictions out. ``bentoml serve`` starts ``rowcast.service:Rowcast``."""

from typing import Any

from rowcast.service.process.parent import stay_with_parent

__all__ = ["Rowcast"]


def __getattr__(name: str) -> Any:
    """Build the service when it is first asked for: parts of this package are useful without a repository."""
    if name != "Rowcast":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    stay_with_parent()  # as early as there is a chance to
    from rowcast.service.app import Rowcast

    return Rowcast
