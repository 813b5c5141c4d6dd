"""What a model may be called, and how its versions count: the one rule for store, settings and command line."""

from __future__ import annotations

import re
from pathlib import Path

from rowcast.models.errors import ModelError

DEFAULT_REPOSITORY = Path("models/repository")
"""Where models are published and looked for, unless somebody says otherwise."""

UNPUBLISHED = "unpublished"
"""What the files of a model are called that has no name."""

MAX_VERSION = 999_999_999
"""Versions count from 1 up to here: a number that every protocol, setting and file name can hold."""

STAGING = ".publishing-"
LOCK = ".lock"
"""In the folder of a model: how the names begin of what is being written, and what those who write take turns by."""

WEIGHT_BESIDE = "weight="
"""The column that weights become which stood beside a table, as ``rowcast.fit(weight=array)`` takes them: no table has
one of that name by accident."""

_NAME = r"[a-z0-9_-]{1,64}"
_VERSION = r"[1-9][0-9]{0,8}"
_ALIAS = r"[a-z][a-z0-9_-]{0,63}"
_WHOLE_NAME, _WHOLE_VERSION, _WHOLE_ALIAS = re.compile(_NAME), re.compile(_VERSION), re.compile(_ALIAS)
LATEST, LIVE = "latest", "live"
"""Aliases that every model has: of its newest version, and of the one that services serve."""
CHOICE = re.compile(rf"({_NAME})(?::({_VERSION})|@({_ALIAS}))?")
"""``name``, ``name:version`` or ``name@alias``."""


def is_model_name(text: str) -> bool:
    """Whether a model may be called so."""
    return _WHOLE_NAME.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Whether a version's folder may be called so: a whole number from 1 to :data:`MAX_VERSION`, no zero in front."""
    return _WHOLE_VERSION.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    """Whether somebody may call a version so: behind an ``@``, as in ``flights@champion``."""
    return _WHOLE_ALIAS.fullmatch(text) is not None and text not in (LATEST, LIVE)


def asked_of_service(model: str) -> tuple[str, int | None, str]:
    """What ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS`` asks of a service.

    Returns:
        the name; the version, None unless its number is given; and the path that describes it.

    >>> asked_of_service("flights:3")
    ('flights', 3, '/models/flights/versions/3')

    Raises:
        ModelError: it is none of these, or an alias that only a repository knows.
    """
    name, separator, alias = model.partition("@")
    if separator and is_model_name(name):
        if is_alias(alias):
            return name, None, f"/models/{model}"
        if alias in (LATEST, LIVE):
            raise ModelError(
                f"NAME@{alias} is for a repository: a service answers for what is live as {name!r}, got {model!r}"
            )
    name, separator, version = model.partition(":")
    if not is_model_name(name):
        raise ModelError(
            "a model is NAME, NAME@ALIAS or NAME:VERSION, and its name 1 to 64 of a-z, 0-9, '_' and '-', got "
            f"{model[:80]!r}"
        )
    if not separator:
        return name, None, f"/models/{name}"
    if not is_version(version):
        raise ModelError(
            f"a model is NAME, NAME@ALIAS or NAME:VERSION with a whole number from 1 to {MAX_VERSION:,}, got "
            f"{model[:80]!r}"
        )
    return name, int(version), f"/models/{name}/versions/{version}"


def check_model_name(name: str) -> str:
    """Return ``name`` if a model may bear it.

    Raises:
        ModelError: it is not 1 to 64 of ``a-z 0-9 _ -``.
    """
    if not is_model_name(name):
        raise ModelError(f"a model's name is 1 to 64 of a-z, 0-9, '_' and '-', got {name!r}; choose one with --name")
    return name


def model_name_from(text: str) -> str:
    """Make a valid model name of any text: ``My Table (v2)`` becomes ``my-table-v2``."""
    name = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:64]
    return name or "model"
