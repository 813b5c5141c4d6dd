"""`flights` beside LightGBM: the same columns, the same rows, one run.

Rowcast trains as the demo does (preset quick, a 60 s fit). LightGBM has its defaults, text columns as pandas
categories, timestamps as numbers, and stops early on the same validation rows.

    make bench-accuracy
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import RESULTS, ROOT, cell, hash_of
from rowcast.models import Repository
from rowcast.training.config import make_config
from rowcast.training.data.flights import TARGET, TIME, write_flights
from rowcast.training.prepare import Prepared, prepare
from rowcast.training.train import train

STORE = RESULTS / "flights_auc.json"
TABLE = RESULTS / "flights_auc.md"
CONFIG = {
    "preset": "quick",
    "data": {"target": TARGET, "split_by_time": TIME},
    "fit": {"budget_s": 60.0},
}


def rowcast_cell(file: Path) -> dict[str, Any]:
    """Train as the demo does; the metrics are those of the published graph."""
    with tempfile.TemporaryDirectory() as folder:
        trained = train(file, make_config(overrides=CONFIG), name="flights", repository=Repository(folder))
    return {**trained.model.manifest.metrics["test"], "fit_s": trained.fit.seconds, "rows": trained.rows}


def lightgbm_cell(prepared: Prepared) -> dict[str, Any]:
    """LightGBM on the very arrays that Rowcast's network was fitted on."""
    import lightgbm
    import pandas as pd

    from rowcast.training.fit.evaluate import class_metrics

    parts = (prepared.train, prepared.validation, prepared.test)
    frames = [pd.DataFrame({rule.name: part.columns[rule.name] for rule in prepared.rules}) for part in parts]
    for rule in prepared.rules:
        if rule.kind == "category":
            levels = sorted(set(frames[0][rule.name]))
            for frame in frames:
                known = frame[rule.name].where(frame[rule.name].isin(levels))
                frame[rule.name] = pd.Categorical(known, categories=levels)
    classes = prepared.target.classes
    train_y, validation_y, test_y = ([classes.index(label) for label in part.target] for part in parts)
    started = time.monotonic()
    model = lightgbm.LGBMClassifier(n_estimators=10_000, verbose=-1)
    stop = lightgbm.early_stopping(50, verbose=False)
    model.fit(frames[0], train_y, eval_X=(frames[1],), eval_y=(validation_y,), callbacks=[stop])
    seconds = time.monotonic() - started
    probabilities = np.asarray(model.predict_proba(frames[2]), np.float32)
    labels = [classes[i] for i in test_y]
    return {**class_metrics(labels, probabilities, classes), "fit_s": seconds, "trees": model.best_iteration_}


def main() -> None:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    code = [file for room in ("training", "models") for file in (ROOT / room).rglob("*.py")]
    ours, theirs = hash_of(code, repr(CONFIG)), hash_of([Path(__file__)], "lightgbm")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "flights.csv"
        write_flights(file)
        results = {
            "Rowcast, preset quick, 60 s": cell(STORE, "rowcast", ours, lambda: rowcast_cell(file)),
            "LightGBM, defaults": cell(
                STORE, "lightgbm", theirs, lambda: lightgbm_cell(prepare(file, make_config(overrides=CONFIG)))
            ),
        }
    first = next(iter(results.values()))
    lines = [
        "# flights: will it arrive more than 15 minutes late?",
        "",
        f"Test rows: the last {first['rows']['test']:,} flights of 2013. {first['date']}, {first['machine']}.",
        "",
        "| | test AUC | log-loss | accuracy | ECE | fit, s |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {r['roc_auc']:.4f} | {r['log_loss']:.4f} | {r['accuracy']:.4f} "
            f"| {r['ece']:.4f} | {r['fit_s']:.0f} |"
            for name, r in results.items()
        ),
    ]
    text = "\n".join(lines) + "\n"
    TABLE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
