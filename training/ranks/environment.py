"""What torchrun says in the environment about the processes of a fit; nothing here needs PyTorch.

Docs: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from rowcast.models.errors import ConfigError

_NAMES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_EXAMPLE = "`torchrun --standalone --nproc-per-node 2 -m rowcast train TABLE --target COL`"


@dataclass(frozen=True)
class Place:
    """Where a process stands among the others."""

    rank: int
    size: int
    local_rank: int
    """Number of the process on its machine."""
    node: int
    """Number of the machine."""


def place_of_environment() -> Place | None:
    """Where this process stands, as torchrun tells; None if it is alone.

    Raises:
        ConfigError: the environment tells of several processes, but not which of them this is.
    """
    if os.environ.get("WORLD_SIZE", "1").strip() in ("", "1"):
        return None
    size = _number("WORLD_SIZE")
    absent = [name for name in _NAMES if not os.environ.get(name)]
    if absent:
        names = " and ".join(filter(None, [", ".join(absent[:-1]), absent[-1]]))
        raise ConfigError(
            f"WORLD_SIZE={size} tells of several processes, and {names} must tell which this is: start them as "
            f"{_EXAMPLE}, or unset WORLD_SIZE"
        )
    rank = _number("RANK")
    if not 0 <= rank < size:
        raise ConfigError(f"RANK must be less than WORLD_SIZE, {size}, got {rank}: start processes as {_EXAMPLE}")
    node = int(os.environ.get("GROUP_RANK", "0")) if os.environ.get("GROUP_RANK", "0").isdigit() else 0
    return Place(rank, size, _number("LOCAL_RANK"), node)


def check_alone(what: str) -> None:
    """Refuse to do by several processes what one does.

    Raises:
        ConfigError: torchrun has started several. Of those on a machine, one says so.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        if os.environ.get("LOCAL_RANK", "0") != "0":
            raise SystemExit(2)
        raise ConfigError(f"torchrun is for `rowcast train`, got {what}: start it without, as one process")


def _number(name: str) -> int:
    text = os.environ[name].strip()
    if not text.isdigit():
        raise ConfigError(f"{name} must be a whole number, got {text!r}: start processes as {_EXAMPLE}")
    return int(text)
