"""AutoGluon's `best_quality` within 300 seconds, for log-loss where there are classes.

It bags over training and validation rows together, so it is scored on test rows alone. A row is answered by
``predict_proba`` (``predict`` for a regression) with the models kept in memory by ``persist``.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it fits folds in processes of Ray, which would tell its makers

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor
from parts import Run

SECONDS = 300
TARGET = "__target__"


def size_of(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


run = Run()
x, y = run.parts.x, run.parts.y
for column in run.parts.categories:
    for frame in x.values():
        frame[column] = frame[column].astype("category")
rows = pd.concat([x[part].assign(**{TARGET: y[part]}) for part in ("train", "validation")], ignore_index=True)
kind = {"regression": ("regression", "root_mean_squared_error"), "binary": ("binary", "log_loss")}
problem, metric = kind.get(run.parts.about["task"], ("multiclass", "log_loss"))
with tempfile.TemporaryDirectory() as folder:
    model = TabularPredictor(TARGET, problem_type=problem, eval_metric=metric, path=folder, verbosity=0)
    run.fit(
        model,
        rows,
        presets="best_quality",
        time_limit=SECONDS,
        num_cpus=run.given.threads,
        num_gpus=0,
    )
    model.persist()
    ask = model.predict if run.parts.regression else model.predict_proba
    one, seconds = x["test"].iloc[:1], []
    for _ in range(21):
        started = time.perf_counter()
        ask(one)
        seconds.append(time.perf_counter() - started)
    facts = {
        "row_ms": round(1000 * statistics.median(seconds[1:]), 3),
        "disk_mb": round(size_of(Path(folder)) / 1e6, 1),
        "models": len(model.model_names()),
    }
    np.savez(run.given.out, test=np.asarray(ask(x["test"]), np.float64))
print(json.dumps({**facts, "fit_s": round(run.fit_s, 3), "all_s": round(time.monotonic() - run.started, 3)}))
