"""A training step against its floor: the operations of its matrix products, at the rate this CPU reaches.

The steps are those of the default (preset `balanced`) on the data sets of the accuracy benchmark, taken apart: what
stands in a column is the median over steps of that part of them. The rate is that of the best of a few large float32
products, on as many threads as the fit has.

    make bench-step
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cells import RESULTS, ROOT, machine
from benchmarks.training.accuracy.contenders import THREADS, Rowcast
from benchmarks.training.accuracy.datasets import DATASETS, NotThere, Parts, write_parts
from rowcast.training.fit.loop import auto_batch_size
from rowcast.training.fit.objective import Objective
from rowcast.training.fit.optimizer import WeightAverage, make_optimizer
from rowcast.training.fit.schedule import Schedule
from rowcast.training.fit_network import network_of, to_batch
from rowcast.training.prepare import prepare

TABLE = RESULTS / "step.md"
STEPS, WARM = 60, 10
PRODUCT = 2048
PARTS = ("rows and their encoding", "forward and loss", "backward", "clip", "optimizer", "weight average")


@dataclass
class Stopwatch:
    """Seconds of each part of each step."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})

    def time(self, part: str, work: Callable[[], Any]) -> Any:
        """The result of some work, timed."""
        started = time.perf_counter()
        result = work()
        self.seconds[part].append(time.perf_counter() - started)
        return result

    def medians(self) -> dict[str, float]:
        """Of the steps that count."""
        return {part: statistics.median(seconds[WARM:]) for part, seconds in self.seconds.items()}


def peak_rate() -> float:
    """Floating-point operations a second of a large product: the best of ten."""
    a, b = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        torch.matmul(a, b)
        best = max(best, 2 * PRODUCT**3 / (time.perf_counter() - started))
    return best


def steps_of(parts: Parts) -> tuple[dict[str, float], int, int]:
    """Seconds of each part of a step, the operations of its products, and its rows."""
    config = Rowcast("balanced").config(parts, seed=0)
    files = {part: parts.folder / f"{part}.csv" for part in ("validation", "test")}
    prepared = prepare(parts.folder / "train.csv", config, **files)
    torch.manual_seed(0)
    objective = Objective(prepared.target, config.objective)
    encoder = prepared.encoder
    network = network_of(encoder, objective, config).train()
    rows = to_batch(prepared.train, encoder, objective, torch.device("cpu"))
    optimizer = make_optimizer(network, config.optimizer)
    average, schedule = WeightAverage(network, config.optimizer.average), Schedule(config.optimizer)
    assert config.fit.clip != "none"
    clip = config.fit.clip
    watch, size = Stopwatch(), auto_batch_size(len(rows))
    order = torch.randperm(len(rows))

    def inputs(at: torch.Tensor) -> tuple[Any, Any]:
        batch = rows[at]
        return encoder.encode(batch.features), batch

    def loss(encoded: Any, batch: Any) -> torch.Tensor:
        return objective.loss(network(encoded, batch.codes), batch.target)

    def move() -> None:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(0.3)
        optimizer.step()

    for number in range(STEPS):
        at = order[torch.arange(number * size, (number + 1) * size) % len(rows)]
        encoded, batch = watch.time(PARTS[0], lambda at=at: inputs(at))
        optimizer.zero_grad()
        found = watch.time(PARTS[1], lambda encoded=encoded, batch=batch: loss(encoded, batch))
        watch.time(PARTS[2], found.backward)
        watch.time(PARTS[3], lambda: nn.utils.clip_grad_norm_(network.parameters(), clip))
        watch.time(PARTS[4], move)
        watch.time(PARTS[5], average.update)
    with FlopCounterMode(display=False) as counted:
        loss(encoded, batch).backward()
    return watch.medians(), counted.get_total_flops(), size


def main() -> int:
    """Measure, print the table and write it to `benchmarks/results`."""
    torch.set_num_threads(THREADS)
    scratch = ROOT / ".bench" / "training"
    scratch.mkdir(parents=True, exist_ok=True)
    rate = peak_rate()
    lines = [
        "# A training step against its floor",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {THREADS} threads, float32, preset `balanced`; milliseconds. "
            f"A product of {PRODUCT} by {PRODUCT} reaches {rate / 1e9:.0f} GFLOP/s; the floor is what the step's "
            "products would take at that rate."
        ),
        "",
        "| | rows of a step | " + " | ".join(PARTS) + " | step | floor | step / floor |",
        "|---|---|" + "---|" * (len(PARTS) + 3),
    ]
    for one in DATASETS:
        try:
            parts = write_parts(one, scratch)
        except NotThere as error:
            print(f"{one.name} is not measured: {error}", file=sys.stderr)
            continue
        seconds, operations, size = steps_of(parts)
        step, floor = sum(seconds.values()), operations / rate
        figures = " | ".join(f"{seconds[part] * 1e3:.1f}" for part in PARTS)
        lines.append(f"| {one.name} | {size} | {figures} | {step * 1e3:.1f} | {floor * 1e3:.1f} | {step / floor:.1f} |")
        print(lines[-1], file=sys.stderr)
    text = "\n".join(lines) + "\n"
    TABLE.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
