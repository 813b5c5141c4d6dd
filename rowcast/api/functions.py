"""Arguments of :func:`rowcast.fit` that are fields of the config, or functions in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rowcast.models.errors import ConfigError


@dataclass(frozen=True)
class Functions:
    """What ``network=`` and ``loss=`` say."""

    fields: dict[str, dict[str, Any]]
    """Of the sections ``network`` and ``objective``."""
    network: Callable[..., Any] | None = None
    loss: Callable[..., Any] | None = None


def functions_of(network: Any, loss: Any) -> Functions:
    """Tell functions from fields.

    Args:
        network: a function that builds a module, see :mod:`rowcast.training.network.own`; or fields of ``network``,
            among which ``module`` may be that function.
        loss: a function, see :mod:`rowcast.training.fit.own_loss`; or the name of a loss.

    Raises:
        ConfigError: one is neither.
    """
    fields: dict[str, dict[str, Any]] = {}
    if isinstance(network, Mapping):
        fields["network"] = dict(network)
        network = fields["network"].pop("module") if callable(network.get("module")) else None
    elif network is not None and not callable(network):
        raise ConfigError(
            'network= must be a dict of fields, such as network={"layers": [64, 32]}, or a function of two widths that '
            f"builds a torch module, got {network!r}"
        )
    if isinstance(loss, str):
        fields["objective"], loss = {"loss": loss}, None
    elif loss is not None and not callable(loss):
        raise ConfigError(f"loss= must be the name of a loss, or a function of outputs and target, got {loss!r}")
    return Functions(fields, network, loss)
