"""How a process joins the others of its fit, and how it leaves them."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

from rowcast.models.errors import RowcastError, TrainingError
from rowcast.models.version import VERSION
from rowcast.training.ranks.environment import place_of_environment
from rowcast.training.ranks.ranks import ALONE, Followed, Ranks

if TYPE_CHECKING:
    from rowcast.training.ranks.peers import Peers

PATIENCE_S = 60.0
"""Within which all processes have to come."""


class Elsewhere(SystemExit):
    """This process ends, and another one tells why."""


@contextmanager
def ranks_of_environment() -> Iterator[Ranks]:
    """The processes that torchrun has started, of which this is one; a process alone if it has not.

    torch.distributed is imported only if it has. Where one process fails or is gone all end: one on each machine raises
    the error, the others :class:`Elsewhere`.

    Raises:
        ConfigError: see :func:`rowcast.training.ranks.environment.place_of_environment`.
        Followed: passed on.
        TrainingError: the others did not come, are of another version, failed, or died.
    """
    place = place_of_environment()
    if place is None:
        yield ALONE
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    from rowcast.training.ranks.peers import Peers
    from rowcast.training.ranks.together import Together

    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        store, *_ = next(iter(rendezvous("env://", timeout=timedelta(seconds=PATIENCE_S))))
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"process {place.rank} of {place.size} must reach the others at MASTER_ADDR:MASTER_PORT, {address}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    peers = Peers(PrefixStore(f"rowcast-{attempt}", store), place.rank, place.size, place.node)
    failed, former = False, signal.signal(signal.SIGTERM, _stop)
    try:
        peers.join({"Rowcast": VERSION, "PyTorch": torch.__version__, "Python": platform.python_version()}, PATIENCE_S)
        yield Together(peers, place.local_rank)
    except Followed:
        raise
    except BaseException as error:
        failed = True
        for number in (signal.SIGTERM, signal.SIGINT):  # torchrun sends one as soon as a process is gone
            signal.signal(number, signal.SIG_IGN)
        raise _end_of(error, peers) from error
    finally:
        # The connections end, so that whoever waits for this process sees it; NCCL's, of a fit that failed, may hang.
        if dist.is_initialized() and not (failed and "nccl" in dist.get_backend_config()):
            with suppress(RuntimeError):
                dist.destroy_process_group()
        held = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and place.rank == 0
        peers.leave(holds_store=held)
        if not failed:
            signal.signal(signal.SIGTERM, former)


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_of(error: BaseException, peers: Peers) -> BaseException:
    """What a process raises that an error ends: the error that tells what ended all, or that another tells it."""
    from rowcast.training.ranks.peers import Lost

    with suppress(RuntimeError):  # the store is gone: each tells what it knows
        if not isinstance(error, Exception):  # a signal: torchrun sends one where another process is gone
            why = peers.why_stopped()
            error = Lost(why) if why else error
            peers.end("a signal", stopped=True)
        elif not isinstance(error, Lost):
            peers.end(str(error) if isinstance(error, RowcastError) else f"{type(error).__name__}: {error}")
            why = peers.failure()
            error = Lost(why) if why else error  # another failed first
        if not peers.tells():
            return Elsewhere(error.code if isinstance(error, SystemExit) else 1)
    if isinstance(error, Lost):
        return Lost(f"{error}; nothing was published")
    if isinstance(error, RowcastError) and peers.rank:
        return type(error)(f"process {peers.rank} of {peers.size}: {error}")
    return error
