"""What ``start_from=`` names: a model, its name, or its folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rowcast.api.loading import load
from rowcast.api.model import Model
from rowcast.models.errors import ConfigError

if TYPE_CHECKING:
    from rowcast.training.start.start import Start

NOT_PUBLISHED = "the model that is not published"


def start_at(given: Any, repository: str | os.PathLike[str] | None) -> Start | None:
    """The model that a fit starts from; None for fresh weights.

    Args:
        given: a :class:`rowcast.Model`; a name, ``houses``, ``houses:3``; the folder of a version; or None.
        repository: where models are looked for by name.

    Raises:
        ConfigError: it is none of these.
        ModelNotFound: no such name, version or folder.
        ModelRefused: its files are not the published ones, or a fit cannot start from it.
    """
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike | Model):
        raise ConfigError(
            "start_from= must be a model, its name such as 'houses' or 'houses:3', or its folder, got a "
            f"{type(given).__module__}.{type(given).__qualname__}"
        )
    from rowcast.training.start.start import start_of

    model = given if isinstance(given, Model) else load(given, repository=repository)
    return start_of(model.stored, "" if model.name is not None else NOT_PUBLISHED)
