"""Several processes as one: each takes its part of a batch, and their gradients are added up.

The sum goes through one flat all-reduce after the backward pass, not through ``DistributedDataParallel``: that takes
the mean of the processes' gradients, whatever number of rows each has, hides the network behind a wrapper, and sends
gradients while later ones are still computed, which pays off for networks of hundreds of megabytes. Those of a table
have one to four. Docs: https://docs.pytorch.org/docs/stable/distributed.html.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore

from rowcast.models.errors import ConfigError, DeviceError
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.network.network import BatchNorm
from rowcast.training.ranks.peers import Peers
from rowcast.training.ranks.ranks import Followed, Ranks

P = TypeVar("P")

TIMEOUT_S = 60.0
"""A collective that takes longer has lost a process."""
AGREE_EVERY = 10
"""Steps on a CUDA device between two looks at what others sent along: each look waits for the device."""


class Together(Ranks):
    """See :class:`Ranks`.

    Args:
        peers: the other processes.
        local_rank: number of this process on its machine, from 0.
    """

    def __init__(self, peers: Peers, local_rank: int) -> None:
        self.rank, self.size = peers.rank, peers.size
        self._peers = peers
        self._local_rank = local_rank
        self._sent = (0.0, 0.0)
        """Seconds and signal, as the next step tells them to all."""
        self._heard: Tensor | None = None
        self._steps = 0
        self._seconds, self._signal = 0.0, 0

    def __deepcopy__(self, _: dict[int, Any]) -> Together:
        return self  # networks are copied, the processes are not

    @property
    def decisions(self) -> list[str]:
        together = f"{self.size} processes trained together, each on its part of every batch"
        return [f"{together}: dropout and augmentation draw otherwise than in one, so its weights are not quite these"]

    def device(self, device: torch.device) -> torch.device:
        backend = "gloo"
        if device.type == "cuda":
            found = torch.cuda.device_count()
            if str(device) != device.type:
                raise DeviceError(
                    f"the device of a process under torchrun is cuda:LOCAL_RANK, got {device}: use --device cuda"
                )
            if self._local_rank >= found:
                raise DeviceError(
                    f"each process under torchrun needs a CUDA device of its own, got {found} for process "
                    f"{self._local_rank} of this machine: use `torchrun --nproc-per-node {found}`, or --device cpu"
                )
            device = torch.device("cuda", self._local_rank)
            torch.cuda.set_device(device)
            backend = "cpu:gloo,cuda:nccl"
        self._peers.same({"device": device.type})
        with self._needs_all():
            dist.init_process_group(
                backend,
                store=PrefixStore("collectives", self._peers.store),
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=TIMEOUT_S),
            )
        return device

    def meet(self, facts: Mapping[str, Any] | None = None) -> None:
        self._peers.same(facts or {})

    def follow(self) -> None:
        self._peers.same({})
        self._peers.same({})  # who waited long for the last one is there still
        if not self.leads:
            raise Followed

    def begin(self, network: nn.Module, seed: int) -> None:
        for tensor in network.state_dict().values():
            with self._needs_all():
                dist.broadcast(tensor, src=0)
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.total = self._total
        if not self.leads:  # process 0 draws what a process alone draws
            torch.manual_seed(int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0]))

    def check_batch(self, rows: int) -> None:
        if rows < self.size:
            raise ConfigError(
                f"a batch must hold a row for each of {self.size} processes, got {rows}: start fewer, or add "
                f"--set fit.batch_size={self.size}"
            )

    def bounds(self, start: int, stop: int) -> tuple[int, int]:
        mine = self.part(stop - start)
        return start + mine.start, start + mine.stop

    def part(self, rows: int) -> slice:
        if rows < self.size:  # each takes all of them, so that nobody has none
            return slice(0, rows)
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def joined(self, outputs: Tensor, rows: int) -> Tensor:
        if outputs.shape[1] == rows:
            return outputs
        whole = outputs.new_zeros(outputs.shape[0], rows, outputs.shape[2])
        whole[:, self.part(rows)] = outputs
        self._add_up(whole)
        return whole

    def backward(self, loss: Tensor, network: nn.Module, rows: int) -> Tensor:
        (loss * rows).backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        seconds, signals = self._sent
        tail = torch.tensor([0.0, rows, seconds, signals], device=loss.device)
        tail[0] = loss.detach() * rows
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), tail])
        self._add_up(flat)
        flat[:-3] /= flat[-3]  # by the rows of the whole batch
        at = 0
        for gradient in gradients:
            gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()
        self._heard = flat[-2:]
        return flat[-4]

    def agreed(self, seconds: float, interrupt: Interrupt | None) -> float:
        self._steps += 1
        if self._heard is not None and (self._heard.device.type == "cpu" or self._steps % AGREE_EVERY == 0):
            self._seconds, signals = self._heard.tolist()
            self._take_signal(signals, interrupt)
        self._sent = (seconds if self.leads else 0.0, self._own_signal(interrupt))
        return self._seconds

    def interrupted(self, interrupt: Interrupt | None) -> bool:
        return self._signal != 0

    def all_interrupted(self, interrupt: Interrupt | None) -> bool:
        self._take_signal(self._number(self._own_signal(interrupt)), interrupt)
        return self._signal != 0

    def said(self, number: float) -> float:
        return self._number(number if self.leads else 0.0)

    def told(self, report: Callable[[P], object], progress: P) -> bool:
        return self.said(float(bool(report(progress))) if self.leads else 0.0) != 0.0

    # ─── collectives ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _own_signal(self, interrupt: Interrupt | None) -> float:
        """Signals are told as 100 for SIGINT and 1 for SIGTERM, so that a sum of them says which there were."""
        if interrupt is None or interrupt.signal is None or self._signal:
            return 0.0
        return 100.0 if interrupt.signal == signal.SIGINT else 1.0

    def _take_signal(self, told: float, interrupt: Interrupt | None) -> None:
        if not told or self._signal:
            return
        self._signal = signal.SIGINT if told >= 100.0 else signal.SIGTERM
        if interrupt is not None:
            interrupt.tell(self._signal)

    def _number(self, number: float) -> float:
        """The sum of a number over all processes."""
        held = torch.tensor([number], dtype=torch.float64)
        self._add_up(held)
        return float(held)

    def _add_up(self, tensor: Tensor) -> None:
        with self._needs_all():
            dist.all_reduce(tensor)

    @contextmanager
    def _needs_all(self) -> Iterator[None]:
        """Around what fails if a process is gone; the error then says which.

        Raises:
            Lost: one is.
        """
        try:
            with self._peers.watched():
                yield
        except RuntimeError as error:
            raise self._peers.lost_in(error) from error

    def _total(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes, through which gradients flow."""
        total: Tensor = _Total.apply(tensor, self._add_up)  # type: ignore[no-untyped-call]
        return total


class _Total(torch.autograd.Function):
    """A sum over processes: what each gives moves the loss of all, so gradients are added up as well."""

    @staticmethod
    def forward(context: Any, tensor: Tensor, add_up: Callable[[Tensor], None]) -> Tensor:
        context.add_up = add_up
        total = tensor.clone()
        add_up(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.clone()
        context.add_up(gradient)
        return gradient, None
