"""A stored model at a glance: layers, shapes, parameters, bytes, and what a row costs. Read from its files alone."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rowcast.models.errors import ModelRefused
from rowcast.models.printable import printable
from rowcast.models.repository import StoredModel
from rowcast.models.session import Session

WEIGHTS_FILE = "weights.safetensors"
LAYERS_KEY = "rowcast.layers"
"""In the metadata of the weights: the layers in the order in which they run. Models of earlier versions lack it."""
_MOST_HEADER = 100 * 2**20
"""Bytes of a header of safetensors, at most: what that library allows."""
_RUNS = {1: 200, 64: 50}
"""Rows of a run, and how many runs are timed."""


class Summary(str):
    """A text that shows as it is where an expression's value is shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def summary_of(model: StoredModel, session: Session | None = None, *, called: str | None = None) -> Summary:
    """The layers of a stored model, one a line, and below them totals and the time that a row takes.

    Args:
        model: verified; see :meth:`rowcast.models.repository.Repository.open`.
        session: of the model, to be timed; a new one on one thread where none is given.
        called: in place of its name and version.

    Raises:
        ModelRefused: the weights cannot be read.
    """
    manifest, signature = model.manifest, model.manifest.signature
    layers, n_values, n_bytes = read_layers(model.path / WEIGHTS_FILE)
    about = f"{signature.task} of {signature.target!r} from {_count(len(signature.columns), 'column')}"
    lines = [f"{called or f'{manifest.name}:{manifest.version}'}  {about}", ""]
    rows = [("layer", "kind", "output", "parameters")]
    rows += [(layer["name"], layer["kind"], _shape(layer["shape"]), f"{layer['parameters']:,}") for layer in layers]
    lines += _aligned(rows)
    times = max((int(layer.get("times", 1)) for layer in layers), default=1)
    parameters = sum(int(layer["parameters"]) for layer in layers)
    total = f"{parameters * times:,} parameters"
    if times > 1:
        total += f" in {times} networks of {parameters:,} each, whose answers are averaged"
    lines += ["", total, f"{n_values:,} values in {n_bytes:,} bytes of weights, with what was fitted on columns"]
    lines.append(f"{len(model.graph):,} bytes of graph")
    micros = microseconds(session or Session.of(model, "cpu"))
    lines.append(
        f"{micros[1]:.0f} us for a row alone, {micros[64] / 64:.1f} us a row in runs of 64 "
        f"(medians of {_RUNS[1]} and {_RUNS[64]} runs on this machine)"
    )
    return Summary("\n".join(printable(line) for line in lines))


def read_layers(path: Path) -> tuple[list[dict[str, Any]], int, int]:
    """The layers in a file of weights; how many values it holds, and their bytes.

    Where the file does not tell its layers, they are the arrays of the network, without what comes out of them.

    Raises:
        ModelRefused: it is no file of safetensors.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _MOST_HEADER else None
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{path} cannot be read as weights: {error}") from None
    if not isinstance(header, dict):
        raise ModelRefused(f"{path} cannot be read as weights: it has no header")
    told = header.pop("__metadata__", {}).get(LAYERS_KEY)
    sizes = {name: _size(array["shape"]) for name, array in header.items()}
    n_bytes = sum(array["data_offsets"][1] - array["data_offsets"][0] for array in header.values())
    if told is not None:
        layers = json.loads(told)
    else:
        layers = [
            {"name": name.removeprefix("network."), "kind": header[name]["dtype"], "shape": [], "parameters": size}
            for name, size in sizes.items()
            if name.startswith("network.") and header[name]["dtype"].startswith("F")
        ]
    return layers, sum(sizes.values()), n_bytes


def microseconds(session: Session) -> dict[int, float]:
    """Median time of a run of one row, and of 64."""
    found = {}
    for rows, runs in _RUNS.items():
        inputs = session.missing_rows(rows)
        session.run(inputs)
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            session.run(inputs)
            times.append(time.perf_counter() - started)
        found[rows] = sorted(times)[len(times) // 2] * 1e6
    return found


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of texts, the last of them numbers."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for *texts, number in rows:
        cells = [text.ljust(width) for text, width in zip(texts, widths, strict=False)]
        lines.append("  ".join([*cells, number.rjust(widths[-1])]))
    return lines


def _shape(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else ""


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
