"""The report of a fit: what it is published with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from rowcast.models.session import Predictions, Session
from rowcast.models.signature import Signature
from rowcast.training.columns.disclosure import percentiles
from rowcast.training.config import Config, to_toml
from rowcast.training.fit.loop import FitResult
from rowcast.training.prepare import Prepared
from rowcast.training.report.facts import Rows, facts_of_fit
from rowcast.training.report.page import page
from rowcast.training.report.shares import SAMPLE_ROWS, missing_in, of_numbers

MOST_LAYERS = 100


def report_of_fit(
    session: Session,
    prepared: Prepared,
    answers: Mapping[str, Predictions],
    fit: FitResult,
    said: Mapping[str, Any],
    graph: bytes,
    config: Config,
    layers: Sequence[Mapping[str, Any]],
) -> bytes:
    """The report of a model that is about to be published.

    Args:
        session: of the graph.
        prepared: the table.
        answers: to its validation and test rows.
        fit: how it went.
        said: fields of ``model.json``.
        graph: the bytes.
        config: of the fit.
        layers: of the network, see :func:`rowcast.training.export.layers.layers_of`.
    """
    whole = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
    parts = {
        name: Rows(part.columns, part.target, answers.get(name), part.weight if name in answers else None)
        for name, part in whole.items()
    }
    facts = facts_of_fit(
        session,
        parts,
        history=fit.history,
        stopped=fit.stopped,
        said=said,
        sha256=hashlib.sha256(graph).hexdigest(),
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        config=to_toml(config),
        split={
            "words": _split(config, prepared.target.classes),
            "spread": _along(config, session.signature, parts),
        },
        network=_network(layers),
    )
    facts["rows"] |= {"train": prepared.n_train}  # of a table in shards, of which the rest is a sample
    return page(facts)


def _split(config: Config, classes: tuple[str, ...]) -> str:
    """How the rows came into their parts, in a sentence or two."""
    return _into_parts(config, classes) + (
        ""
        if config.fit.folds == "none"
        else f" The training rows are divided into {config.fit.folds} folds: validation rows are training rows that "
        "the fit of their fold left out."
    )


def _into_parts(config: Config, classes: tuple[str, ...]) -> str:
    data = config.data
    if data.split_by_time:
        return f"By time along {data.split_by_time!r}: training rows come first, then validation rows, then test rows."
    if data.split:
        return f"As the column {data.split!r} says."
    if data.group or data.fold:
        return f"By group: rows of one {data.group or data.fold!r} stay on one side."
    return f"At random{', with the shares of the classes that the table has' if classes else ''}."


def _along(config: Config, signature: Signature, parts: Mapping[str, Rows]) -> dict[str, Any] | None:
    """How the column that the table was split along is spread in the parts, where it is an input."""
    column = next((one for one in signature.columns if one.name == config.data.split_by_time), None)
    if column is None:
        return None
    some = {name: rows.some(SAMPLE_ROWS).columns[column.name] for name, rows in parts.items() if len(rows)}
    some = {name: values[~missing_in(values)] for name, values in some.items()}
    ends = percentiles(np.concatenate(list(some.values())))
    return None if ends is None else of_numbers(some, float(ends[0]), float(ends[1]), column.kind)


def _network(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The layers of a network, as ``rowcast models show --network`` lists them."""
    times = max((int(layer.get("times", 1)) for layer in layers), default=1)
    total = sum(int(layer["parameters"]) for layer in layers)
    rows = [
        (layer["name"], layer["kind"], " x ".join(map(str, layer["shape"])), layer["parameters"])
        for layer in layers[:MOST_LAYERS]
    ]
    note = f"{total * times:,} parameters" + (f" in {times} networks whose answers are averaged" if times > 1 else "")
    note += f"; the first {len(rows)} layers are shown" if len(layers) > len(rows) else ""
    return {"note": f"{note}.", "head": ["layer", "kind", "output", "parameters"], "rows": rows}
