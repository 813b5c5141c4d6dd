"""Proof on real data: 10,000 raw flights get from `/predict` what a bare ONNX Runtime program gives them.

The rows are real ones of the test period, and rows with one hostile value at a time: null in every column, an empty
string and an unseen level in every category, +-1e38 in every number, the years 1900 and 2262. They are sent as JSON in
requests of many sizes, several at a time, so that they meet in batches; and the bare program (tests/support/bare.py)
reads the very same rows from CSV. Needs the model and the table that `make demo` leaves.

    make proof-raw-rows
"""

from __future__ import annotations

import csv
import json
import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from rowcast.models import Repository
from rowcast.models.signature import Column
from tests.support import bare
from tests.support.serving import ask, served

ROWS = 10_000
TOLERANCE = 1e-6
TABLE = Path(".demo/flights.csv")
REPOSITORY = Path("models/repository")
HOSTILE: dict[str, list[Any]] = {
    "number": [None, 1e38, -1e38],
    "integer": [None, 1e38, -1e38],
    "boolean": [None],
    "category": [None, "", "never seen"],
    "timestamp": [None, "1900-01-01T00:00:00Z", "2262-01-01T00:00:00Z"],
}


def json_value(text: str, column: Column) -> Any:
    """A field of the CSV file as a client would send it."""
    if text == "":
        return None
    if column.kind in ("number", "integer"):
        return json.loads(text)
    return text.lower() == "true" if column.kind == "boolean" else text


def main() -> int:
    """Compare; 0 when every answer agrees."""
    if not TABLE.exists() or "flights" not in Repository(REPOSITORY).names():
        print("run `make demo` first: it makes the table and the model", file=sys.stderr)
        return 1
    model = Repository(REPOSITORY).open("flights")
    columns = model.manifest.signature.columns
    with open(TABLE, newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))[-65_000:]
    rng = random.Random(0)
    base = {c.name: json_value(records[0][c.name], c) for c in columns}
    rows = [{**base, c.name: value} for c in columns for value in HOSTILE[c.kind]]
    rows.append({c.name: None for c in columns})
    picked = rng.sample(records, ROWS - len(rows))
    rows += [{c.name: json_value(record[c.name], c) for c in columns} for record in picked]
    rng.shuffle(rows)

    cuts, start = [], 0
    while start < ROWS:
        size = rng.choice([1, 1, 2, 7, 40, 300])
        cuts.append(rows[start : start + size])
        start += size
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with open(home / "rows.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [c.name for c in columns])
            writer.writeheader()
            writer.writerows(rows)
        expected = bare.answer(str(model.path / "model.onnx"), str(home / "rows.csv"))
        with served(REPOSITORY.absolute(), home) as (url, _), ThreadPoolExecutor(16) as callers:
            answers = [row for part in callers.map(lambda part: ask(url, part), cuts) for row in part]

    classes = model.manifest.signature.classes
    got = np.array([[answer["probabilities"][label] for label in classes] for answer in answers])
    difference = float(np.abs(got - expected["probabilities"]).max())
    labels = sum(a["label"] != b for a, b in zip(answers, expected["label"][:, 0], strict=True))
    print(
        f"{len(answers):,} rows in {len(cuts):,} requests: largest difference {difference:.1e}, {labels} labels differ"
    )
    return 0 if difference <= TOLERANCE and labels == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
