"""What a peer reads and writes: the same CSV files for all, and predictions to be scored by the harness.

A peer runs in an environment of its own, which has nothing of Rowcast: `PEER.py FOLDER OUT --seed 0 --threads 2`.
FOLDER holds train.csv, validation.csv and test.csv, and about.json that says what the columns are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NAMES = ("train", "validation", "test")


class Parts:
    """The three parts: ``x`` frames with numbers as float64, timestamps as seconds and categories as text, NaN where
    missing; ``y`` float64 for regression and class indices otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self.about: dict[str, Any] = json.loads((folder / "about.json").read_text())
        self.regression = self.about["task"] == "regression"
        self.categories: list[str] = self.about["categories"]
        self.x: dict[str, pd.DataFrame] = {}
        self.y: dict[str, Any] = {}
        index = {label: i for i, label in enumerate(self.about["classes"])}
        target = self.about["target"]
        for name in NAMES:
            # Only an empty field is null: NA may be a level.
            frame = pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False, na_values=[""])
            y = frame.pop(target)
            self.y[name] = y.astype(float).to_numpy() if self.regression else y.map(index).to_numpy(np.int64)
            for column in frame:
                if column in self.about["timestamps"]:
                    moments = pd.to_datetime(frame[column], utc=True).dt.as_unit("s")
                    frame[column] = moments.astype("int64").astype(float).where(moments.notna())
                elif column in self.categories:
                    frame[column] = frame[column].astype(object)
                else:
                    frame[column] = frame[column].astype(float)
            self.x[name] = frame

    def as_categories(self) -> None:
        """Turn text into pandas categories: the levels of the training rows; any other is missing."""
        for column in self.categories:
            levels = sorted(self.x["train"][column].dropna().unique())
            for name in NAMES:
                values = self.x[name][column]
                self.x[name][column] = pd.Categorical(values.where(values.isin(levels)), categories=levels)


class Run:
    """One run of a peer: what it was asked, how long it took, and what it answers."""

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("folder", type=Path)
        parser.add_argument("out", type=Path)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--threads", type=int, default=2)
        parser.add_argument("--for-log-loss", action="store_true")
        self.given = parser.parse_args()
        self.started = time.monotonic()
        self.parts = Parts(self.given.folder)
        self.fit_s = 0.0

    def fit(self, model: Any, *args: Any, **kwargs: Any) -> None:
        """Call ``model.fit`` and count its seconds."""
        started = time.monotonic()
        model.fit(*args, **kwargs)
        self.fit_s = time.monotonic() - started

    def finish(self, model: Any, **facts: Any) -> None:
        """Predict validation and test rows, write the answers and say how it went in the last line."""
        predict = model.predict if self.parts.regression else model.predict_proba
        answers = {name: np.asarray(predict(self.parts.x[name]), np.float64) for name in ("validation", "test")}
        np.savez(self.given.out, **answers)
        facts |= {"fit_s": round(self.fit_s, 3), "all_s": round(time.monotonic() - self.started, 3)}
        print(json.dumps(facts))
