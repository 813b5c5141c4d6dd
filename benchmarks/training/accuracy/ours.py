"""One fit of Rowcast, from the files every contender reads: ``ours.py FOLDER OUT CONFIG``, CONFIG being TOML.

The answers are those of the published graph. With ``--validation-only`` no test row is opened.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rowcast import Model
from rowcast.models import Repository
from rowcast.models.repository import GRAPH_FILE, StoredModel
from rowcast.training.config import make_config
from rowcast.training.predict import predict_table
from rowcast.training.train import train


def answers(model: StoredModel, file: Path, part: str, classes: list[str]) -> dict[str, NDArray[np.float64]]:
    """What the model answers to a part: probabilities in the order of ``classes``, or predictions and intervals."""
    frame = predict_table(model, file)
    if classes:
        return {part: frame.select(f"probability_{label}" for label in classes).to_numpy().astype(np.float64)}
    names = {"": "prediction", "_lower": "lower", "_upper": "upper"}
    return {part + end: frame[name].to_numpy().astype(np.float64) for end, name in names.items() if name in frame}


def cost(model: StoredModel, file: Path) -> dict[str, float]:
    """Milliseconds for one row in Python, the median of 100 answers of the open model; and megabytes of its file."""
    row = pd.read_csv(file, nrows=1)
    opened = Model(model)
    seconds = []
    for _ in range(101):
        started = time.perf_counter()
        opened.predict(row)
        seconds.append(time.perf_counter() - started)
    size = (model.path / GRAPH_FILE).stat().st_size
    return {"row_ms": round(1000 * statistics.median(seconds[1:]), 4), "disk_mb": round(size / 1e6, 3)}


def main() -> None:
    """Fit, answer, and say in the last line how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--validation-only", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    started = time.monotonic()
    classes: list[str] = json.loads((given.folder / "about.json").read_text())["classes"]
    parts = ("validation",) if given.validation_only else ("validation", "test")
    files = {part: given.folder / f"{part}.csv" for part in parts}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        trained = train(
            given.folder / "train.csv",
            make_config(file=given.config),
            name="bench",
            repository=Repository(home),
            validation=files["validation"],
            # A table to test on is needed, or training rows would be split off for one.
            test=files[parts[-1]],
        )
        for part, file in files.items():
            found |= answers(trained.model, file, part, classes)
        costs = cost(trained.model, files[parts[0]])
    np.savez(given.out, **found)
    how = trained.summary()
    seconds = {"fit_s": how["seconds"], "all_s": round(time.monotonic() - started, 3)}
    print(json.dumps({"epochs": how["epochs"], **seconds, **costs}))


if __name__ == "__main__":
    main()
