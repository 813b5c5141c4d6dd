"""What of a training run is a function of one's own: a network, a loss. Python alone gives one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rowcast.models.errors import ConfigError
from rowcast.training.config import Config
from rowcast.training.fit.own_loss import LossFunction
from rowcast.training.network.own import NetworkBuilder


@dataclass(frozen=True)
class Own:
    """Functions in place of what a config names."""

    network: NetworkBuilder | None = None
    """See :mod:`rowcast.training.network.own`."""
    loss: LossFunction | None = None
    """See :mod:`rowcast.training.fit.own_loss`."""

    def written_in(self, config: Config) -> Config:
        """The config with the names of these functions, as ``model.json`` keeps it.

        Raises:
            ConfigError: the config names a function that is not here, or sets what does not go together with one here.
        """
        self._check(config.network.module, self.network, "network", "network.module")
        self._check(config.objective.function, self.loss, "loss", "objective.function")
        sections: dict[str, Any] = {}
        if self.network is not None:
            sections["network"] = {**config.network.model_dump(), "module": name_of(self.network), "members": 1}
        if self.loss is not None:
            if config.augment.mixup:
                raise ConfigError(f"'augment.mixup' must be 0 with a loss of one's own, got {config.augment.mixup:g}")
            sections["objective"] = {**config.objective.model_dump(), "function": name_of(self.loss)}
        kinds = {"network": type(config.network), "objective": type(config.objective)}
        return config.model_copy(update={name: kinds[name](**fields) for name, fields in sections.items()})

    @staticmethod
    def _check(named: str, given: Callable[..., Any] | None, argument: str, field: str) -> None:
        if given is None and named:
            raise ConfigError(
                f"{field!r} names a function of one's own, {named!r}, which is given from Python, as "
                f"rowcast.fit(..., {argument}=...); leave the field out for a {argument} of Rowcast's"
            )
        if given is not None and not callable(given):
            raise ConfigError(f"{argument}= must be a function, got {given!r}")


NOTHING_OWN = Own()


def name_of(function: Callable[..., Any]) -> str:
    """The qualified name of a function or class; that of its type for any other callable."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
