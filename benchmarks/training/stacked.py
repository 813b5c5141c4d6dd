"""A step of several fits: one after the other, and stacked into one by ``torch.func.vmap``.

Folds and seeds are fits of the same network on different rows. Stacked, each weight has one more axis, a step is one
pass for all of them, and what Python and small kernels cost is paid once; the products cost what they cost.

    make bench-stacked
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from benchmarks.cells import RESULTS, ROOT, machine
from benchmarks.training.accuracy.contenders import THREADS, Rowcast
from benchmarks.training.accuracy.datasets import DATASETS, NotThere, write_parts
from rowcast.training.features.encoder import Encoded
from rowcast.training.fit.loop import Batch, take_step
from rowcast.training.fit.objective import Objective
from rowcast.training.fit.optimizer import make_optimizer
from rowcast.training.fit_network import network_of, to_batch
from rowcast.training.prepare import prepare

TABLE = RESULTS / "stacked.md"
STEPS, WARM, ROUNDS = 40, 8, 2
RATE = 1e-3
CASES = (
    # data, preset, rows of a step, layers and members in place of the preset's, fits
    ("california", "quick", 256, None, None, 5),
    ("california", "balanced", 256, None, None, 5),
    ("adult", "balanced", 256, None, None, 5),
    ("covertype", "quick", 256, None, None, 5),
    ("california", "quick", 64, None, None, 5),
    ("california", "quick", 64, (64, 64), None, 5),
    ("adult", "quick", 64, (64, 64), 1, 5),
    ("california", "quick", 64, (64, 64), 1, 20),
)


class Fits:
    """Several fits of one table, each with weights and rows of its own.

    Args:
        data: name of the table.
        preset: of each fit.
        size: rows of a step.
        layers: in place of the preset's.
        members: in place of the preset's.
        n: fits.
    """

    def __init__(
        self, data: str, preset: str, size: int, layers: tuple[int, ...] | None, members: int | None, n: int
    ) -> None:
        parts = write_parts(next(one for one in DATASETS if one.name == data), ROOT / ".bench" / "training")
        config = Rowcast(preset).config(parts, seed=0)
        changed = {"layers": layers, "members": members}
        network = config.network.model_copy(update={name: value for name, value in changed.items() if value})
        self.config = config.model_copy(update={"network": network})
        files = {part: parts.folder / f"{part}.csv" for part in ("validation", "test")}
        prepared = prepare(parts.folder / "train.csv", self.config, **files)
        self.objective, self.encoder = Objective(prepared.target, self.config.objective), prepared.encoder
        self.rows = to_batch(prepared.train, self.encoder, self.objective, torch.device("cpu"))
        self.size, self.random = size, torch.Generator().manual_seed(0)
        self.networks = [network_of(self.encoder, self.objective, self.config).train() for _ in range(n)]
        self.optimizers = [make_optimizer(network, self.config.optimizer) for network in self.networks]
        weights, buffers = stack_module_state(self.networks)
        self.weights = {name: weight.detach().clone().requires_grad_(True) for name, weight in weights.items()}
        self.buffers = {name: buffer[0] for name, buffer in buffers.items()}
        self.stacked_optimizer = torch.optim.AdamW(self.weights.values(), lr=RATE, fused=True)

    def batch(self) -> Batch:
        """Rows by chance."""
        return self.rows[torch.randint(len(self.rows), (self.size,), generator=self.random)]

    def one_by_one(self) -> None:
        """A step of each, as a fit takes it."""
        for network, optimizer in zip(self.networks, self.optimizers, strict=True):
            take_step(network, self.encoder, self.objective, self.batch(), optimizer, RATE, self.config.fit)

    def stacked(self) -> None:
        """The same as one step."""
        batches = [self.batch() for _ in self.networks]
        encoded = [self.encoder.encode(batch.features) for batch in batches]
        numbers, binary = (torch.stack(parts) for parts in zip(*encoded, strict=True))
        codes = torch.stack([batch.codes for batch in batches])
        target = torch.stack([batch.target for batch in batches])

        def loss(weights: dict[str, Tensor], numbers: Tensor, binary: Tensor, codes: Tensor, target: Tensor) -> Tensor:
            inputs = (Encoded(numbers, binary), codes)
            outputs = functional_call(self.networks[0], (weights, self.buffers), inputs)
            return self.objective.loss(outputs, target)

        self.stacked_optimizer.zero_grad()
        vmap(loss, randomness="different")(self.weights, numbers, binary, codes, target).sum().backward()
        clip = self.config.fit.clip
        if clip != "none":  # each fit by the norm of its own gradients
            gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
            norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
            factors = (clip / (norms + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
        self.stacked_optimizer.step()


def seconds_of(step: Callable[[], None]) -> float:
    """The median of some steps."""
    taken = []
    for _ in range(STEPS):
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[WARM:])


def main() -> int:
    """Measure, print the table and write it to `benchmarks/results`."""
    torch.set_num_threads(THREADS)
    lines = [
        "# Fits stacked into one step",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {THREADS} threads, float32. Milliseconds of a step of all "
            f"fits: the better of {ROUNDS} medians."
        ),
        "",
        "| | preset | rows of a step | members | layers | fits | one by one | stacked | stacked / one by one |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for data, preset, size, layers, members, n in CASES:
        try:
            fits = Fits(data, preset, size, layers, members, n)
        except NotThere as error:
            print(f"{data} is not measured: {error}", file=sys.stderr)
            continue
        rounds = [(seconds_of(fits.one_by_one), seconds_of(fits.stacked)) for _ in range(ROUNDS)]
        apart, together = (1000 * min(times) for times in zip(*rounds, strict=True))
        network = fits.config.network
        cells = [data, preset, size, network.members, "x".join(map(str, network.layers)), n]
        cells += [f"{apart:.1f}", f"{together:.1f}", f"{together / apart:.2f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
        print(lines[-1], file=sys.stderr)
    text = "\n".join(lines) + "\n"
    TABLE.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
