"""A fuzz of whole tables: 2,000 random tables of odd columns, each trained for two epochs and asked by every protocol.

    make fuzz-tables            # ARGS="--tables 300 --first 0"

For each: nothing but a RowcastError ends it, and the gate refuses nothing after the fit; rows with one odd value are
answered within the range of the training target and half as much on either side (for classes: log-odds no farther out
than those of training rows and half as much again); and the same rows have one answer, or none, by path, polars,
pandas, dict, rows JSON and an Arrow stream. What was done is written to a file, so that a run that ends goes on where
it was.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import rowcast
from rowcast.models.errors import ExportRefused, RequestError, RowcastError
from rowcast.models.session import Session
from rowcast.models.signature import Signature
from rowcast.models.texts import is_marker
from rowcast.service.columns.blocks import Layout
from rowcast.service.columns.named import Columns
from rowcast.service.columns.rows import GraphInputs
from rowcast.service.protocols.arrow.stream import ArrowReader, Part
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.training.columns.reading import NULL_SPELLINGS
from rowcast.training.predict import columns_for, open_table, predict_columns
from tests.support.odd_tables import OddTable, odd_table

TINY = {"network": {"members": 1, "layers": [8]}, "fit": {"epochs": 2}, "device": "cpu"}
TOLERANCE = 1e-6
BEYOND = 0.5
"""Of the range of the training target, on either side."""
LOG_ODDS = 2.0
"""Beyond those of training rows and half as much again: two epochs leave them close to 0."""

Row = dict[str, Any]
Answers = np.ndarray


class Finding(NamedTuple):
    """What one table came to: ``trained``, ``refused`` before the fit, or a fault."""

    seed: int
    what: str
    detail: str
    seconds: float


def main() -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--log", type=Path, default=Path(".bench/tables.jsonl"), help="what was done so far")
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    seeds = range(options.first, options.first + options.tables)
    done = {finding.seed: finding for finding in _read(options.log) if finding.seed in seeds}
    with options.log.open("a") as log, tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            if seed not in done:
                done[seed] = finding = try_table(seed, Path(folder))
                print(json.dumps(finding), file=log, flush=True)
                if finding.what not in ("trained", "refused"):
                    print(f"seed {seed}: {finding.what}: {finding.detail}", file=sys.stderr, flush=True)
    return _tell(list(done.values()))


def try_table(seed: int, folder: Path) -> Finding:
    """Train on the table of a seed, and ask the model."""
    started = time.perf_counter()
    try:
        what, detail = _fitted_and_asked(odd_table(seed), folder, seed)
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for
        what, detail = "crash", f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    return Finding(seed, what, detail, round(time.perf_counter() - started, 3))


def _fitted_and_asked(table: OddTable, folder: Path, seed: int) -> tuple[str, str]:
    path = folder / f"{seed}.csv"
    path.write_text(_csv(table.columns))
    try:
        model = rowcast.fit(path, target=table.target, name="odd", repository=folder / "repository", **TINY)
    except ExportRefused as error:
        return "refused by the gate", str(error)
    except RowcastError as error:
        return "refused", str(error)
    trained = Trained(model, path)
    inputs = trained.signature.names
    ordinary = [i for i, value in enumerate(table.columns[table.target]) if value is not None][:8]
    rows = [{name: table.columns[name][i] for name in inputs} for i in ordinary]
    answers = trained.by_path(rows)
    low, high = trained.range(table)
    odd = [{**rows[i % len(rows)], name: value} for name in inputs for i, value in enumerate(table.odd_values[name])]
    if told := _differences(trained, rows, "ordinary rows"):
        return "protocols differ", told
    assert len(answers) == len(rows)
    for column, group in _by_column(odd, inputs, table):
        if told := _differences(trained, group, f"{column!r} ({table.made_of[column]})"):
            return "protocols differ", told
    changed = [name for name in inputs for _ in table.odd_values[name]]
    for row, name in zip(odd, changed, strict=True):
        try:
            answer = trained.by_path([row])
        except RowcastError:
            continue
        if not (np.isfinite(answer).all() and (answer >= low).all() and (answer <= high).all()):
            made = table.made_of[name]
            return "far answer", f"{name!r} ({made}) = {row[name]!r}: {answer.ravel().tolist()}, not {low} to {high}"
    return "trained", ""


def _by_column(odd: list[Row], inputs: tuple[str, ...], table: OddTable) -> Iterator[tuple[str, list[Row]]]:
    start = 0
    for name in inputs:
        values = len(table.odd_values[name])
        yield name, odd[start : start + values]
        start += values


class Trained:
    """A model, asked by every protocol within this process."""

    def __init__(self, model: rowcast.Model, path: Path) -> None:
        self.manifest = model.stored.manifest
        self.session = Session.of(model.stored, "cpu")
        self.signature: Signature = self.session.signature
        self.file = path.with_suffix(".new.csv")
        self.decoder = Decoder(self.signature, 4096)
        self.inputs = GraphInputs(self.signature)
        self.arrow = ArrowReader(self.signature, 4096, 2**24)
        self.layout = Layout(self.signature)

    def range(self, table: OddTable) -> tuple[float, float]:
        """How far out an answer may be."""
        if self.signature.task == "regression":
            values = np.array([value for value in table.columns[table.target] if value is not None], float)
            half = BEYOND * (values.max() - values.min())
            return float(values.min() - half), float(values.max() + half)
        known = {name: table.columns[name] for name in self.signature.names}
        most = float(np.abs(self._python(known)).max())
        return -most * (1 + BEYOND) - LOG_ODDS, most * (1 + BEYOND) + LOG_ODDS

    def by_path(self, rows: list[Row]) -> Answers:
        self.file.write_text(_csv(_columns(rows)))
        return self._python(self.file)

    def by_polars(self, rows: list[Row]) -> Answers:
        return self._python(pl.DataFrame({name: pl.Series(name, values) for name, values in _columns(rows).items()}))

    def by_pandas(self, rows: list[Row]) -> Answers:
        return self._python(pd.DataFrame(_columns(rows)))

    def by_dict(self, rows: list[Row]) -> Answers:
        return self._python(_columns(rows))

    def by_json(self, rows: list[Row]) -> Answers:
        rows = self._plain(rows)
        return self._run(self.inputs(self.decoder.rows(json.dumps({"rows": rows}).encode())))

    def by_arrow(self, rows: list[Row]) -> Answers:
        rows = self._plain(rows)
        out = io.BytesIO()
        table = pa.table({name: pa.array(_of_one_type(values)) for name, values in _columns(rows).items()})
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        stream = self.arrow.open(out.getvalue())
        parts = list(stream.parts(list(stream.batches())))
        for part in parts:
            if isinstance(part, RequestError):
                raise part
        blocks = Columns.joined([part.columns.blocks for part in parts if isinstance(part, Part)]).blocks
        return self._run(self.layout.inputs(blocks))

    def _plain(self, rows: list[Row]) -> list[Row]:
        """Rows as the service takes them: a number in text, in a column that needs no rule to read it, is a number."""
        plain = {c.name: c.kind for c in self.signature.columns if c.reading is None and c.kind in _PLAIN_TEXTS}
        return [{name: _typed(value, plain.get(name)) for name, value in row.items()} for row in rows]

    def _python(self, source: Any) -> Answers:
        table = open_table(source, self.manifest)
        answers = predict_columns(self.session, columns_for(table, self.signature, self.manifest.name))
        return _numbers(answers)

    def _run(self, columns: dict[str, Any]) -> Answers:
        return _numbers(self.session.run(columns))


PROTOCOLS: tuple[Callable[[Trained, list[Row]], Answers], ...] = (
    *(Trained.by_path, Trained.by_polars, Trained.by_pandas, Trained.by_dict, Trained.by_json, Trained.by_arrow),
)


def _numbers(answers: Any) -> Answers:
    """Predictions ``[rows, 1]``, or the log-odds of the classes ``[rows, classes]``."""
    if answers.prediction is not None:
        return np.asarray(answers.prediction, float).reshape(-1, 1)
    shares = np.clip(np.asarray(answers.probabilities, float), 1e-12, 1 - 1e-12)
    return np.log(shares) - np.log1p(-shares)


_PLAIN_TEXTS = ("number", "integer", "boolean")


def _typed(value: Any, kind: str | None) -> Any:
    if kind is None or not isinstance(value, str):
        return value
    if is_marker(value) or value.strip() in ("", *NULL_SPELLINGS):
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(value.lower(), value)
    try:
        return float(value)
    except ValueError:
        return value


def _of_one_type(values: list[Any]) -> list[Any]:
    """Numbers beside text are text, which is what an Arrow column of both can be."""
    mixed = len({isinstance(value, str) for value in values if value is not None}) > 1
    return [None if value is None else str(value) for value in values] if mixed else values


def _differences(trained: Trained, rows: list[Row], what: str) -> str:
    """How protocols differ over some rows, sent together and where refused one by one; empty where none do."""
    found = [_asked(trained, protocol, rows) for protocol in PROTOCOLS]
    if any(isinstance(answer, str) for answer in found) and len(rows) > 1:
        return next((told for row in rows if (told := _differences(trained, [row], what))), "")
    first = found[0]
    for protocol, answer in zip(PROTOCOLS, found, strict=True):
        if isinstance(answer, str) != isinstance(first, str):
            return f"{what}: {rows[0]!r}: by_path {_short(first)}, {protocol.__name__} {_short(answer)}"
        if not isinstance(answer, str) and not isinstance(first, str):
            far = np.abs(answer - first) > 20 * TOLERANCE * np.maximum(1.0, np.abs(first))
            if far.any():
                row = int(far.any(axis=1).argmax())
                return (
                    f"{what}: {rows[row]!r}: by_path {first[row].tolist()}, {protocol.__name__} {answer[row].tolist()}"
                )
    return ""


def _asked(trained: Trained, protocol: Callable[[Trained, list[Row]], Answers], rows: list[Row]) -> Answers | str:
    try:
        return protocol(trained, rows)
    except RowcastError as error:
        return f"refuses: {error}"


def _short(answer: Answers | str) -> str:
    return answer if isinstance(answer, str) else f"answers {answer[0].tolist()}"


def _columns(rows: list[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _csv(columns: dict[str, list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    cells = ([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    # a line of one empty cell would be a blank line
    writer.writerows(cells)
    return text.getvalue()


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _read(log: Path) -> list[Finding]:
    return [Finding(*json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def _tell(findings: list[Finding]) -> int:
    """Print the table of findings; 1 where there is a fault among them."""
    counts = Counter(finding.what for finding in findings)
    seconds = sum(finding.seconds for finding in findings)
    print(f"{len(findings):,} tables, {seconds / max(1, len(findings)):.2f} s each")
    for what, number in counts.most_common():
        seeds = ", ".join(str(finding.seed) for finding in findings if finding.what == what)
        print(f"  {what:<20} {number:>6,}" + ("" if what in ("trained", "refused") else f"  seeds {seeds}"))
    for reason, number in Counter(_reason(f.detail) for f in findings if f.what == "refused").most_common():
        print(f"    refused, {number:,}: {reason}")
    return int(any(what not in ("trained", "refused") for what in counts))


def _reason(message: str) -> str:
    """A refusal without what is particular: enough to count by."""
    return " ".join(message.partition(": ")[2].split()[:12])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
