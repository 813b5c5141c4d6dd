"""The rows of trials in a folder, for the other processes of this machine: they read no table, and get no test row.

``rows.arrow`` holds the columns as they were read, ``rows.json`` what is known of them, the target and the splits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rowcast.models.reading import Reading
from rowcast.training.columns.target import Target
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table
from rowcast.training.tune.rows import Rows

_FRAME, _FACTS, _ARRAYS = "rows.arrow", "rows.json", "rows.npz"


def write_rows(rows: Rows, folder: Path) -> None:
    """Write rows into a folder."""
    table, target = rows.table, rows.target
    table.frame.write_ipc(folder / _FRAME)
    arrays: dict[str, Any] = {"rows": table.rows}
    optional = {"lines": table.lines, "file_of": table.file_of, "weight": target.weight}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    numbers = {label: number for number, label in enumerate(target.classes)}
    arrays["target"] = np.array([numbers[label] for label in target.values]) if numbers else target.values
    for number, split in enumerate(rows.splits):
        arrays |= {f"train{number}": split.train, f"validation{number}": split.validation}
    arrays |= {f"mixed {name}": kinds for name, kinds in table.mixed.items()}
    np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)
    facts = {
        "table": {
            "source": table.source,
            "declared": sorted(table.declared),
            "typed": dict(table.typed),
            "notes": list(table.notes),
            "index": list(table.index),
            "unusable": dict(table.unusable),
            "files": list(table.files),
            "array_columns": table.array_columns,
        },
        "target": {
            "name": target.name,
            "task": target.task,
            "classes": list(target.classes),
            "reading": target.reading.model_dump(mode="json"),
        },
        "splits": [list(split.notes) for split in rows.splits],
        "about": rows.about,
    }
    (folder / _FACTS).write_text(json.dumps(facts), "utf-8")


def read_rows(folder: Path) -> Rows:
    """The rows in a folder."""
    facts = json.loads((folder / _FACTS).read_text("utf-8"))
    with np.load(folder / _ARRAYS, allow_pickle=False) as held:
        arrays = dict(held)
    said, of_target = facts["table"], facts["target"]
    table = Table(
        frame=pl.read_ipc(folder / _FRAME),
        rows=arrays["rows"],
        lines=arrays.get("lines"),
        file_of=arrays.get("file_of"),
        source=said["source"],
        declared=frozenset(said["declared"]),
        typed=said["typed"],
        notes=tuple(said["notes"]),
        index=tuple(said["index"]),
        unusable=said["unusable"],
        files=tuple(said["files"]),
        array_columns=said["array_columns"],
        mixed={name.removeprefix("mixed "): array for name, array in arrays.items() if name.startswith("mixed ")},
    )
    classes = tuple(of_target["classes"])
    target = Target(
        name=of_target["name"],
        task=of_target["task"],
        values=np.array(classes, object)[arrays["target"]] if classes else arrays["target"],
        classes=classes,
        reading=Reading(**of_target["reading"]),
        weight=arrays.get("weight"),
    )
    nothing = np.zeros(0, np.int64)
    splits = [
        Split(arrays[f"train{number}"], arrays[f"validation{number}"], nothing, tuple(notes))
        for number, notes in enumerate(facts["splits"])
    ]
    return Rows(table, target, splits, facts["about"])
