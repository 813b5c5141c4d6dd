"""The feature encoder of a fit that starts from a model: what its weights mean goes on meaning that.

A carried column keeps its bins, scales, parts of the calendar, levels and words, since the weights were learned on
them. Where the new rows say more, that is added, and what was there stays as it was: bins beyond the ends where new
rows lie, new levels and words, whether a value is missing. Every other column is fitted on the new rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rowcast.training.columns.infer import ColumnRule
from rowcast.training.features.bins import FARTHEST, Bins, fit_bins
from rowcast.training.features.calendar import Part
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.features.encoder import DIRECTION_ROUNDING, FeatureEncoder, fit_encoder, has_two_values
from rowcast.training.features.oblique import Oblique
from rowcast.training.features.spacing import edges_of, is_flat, pulled_in
from rowcast.training.start.keys import Key, binary_keys, binned_keys, columns_in, derived_keys, pairs_of

LEAST_BEYOND = 0.01
"""Share of the new rows that has to lie beyond an end for bins to be added there: ten rows at least."""
MOST_ADDED = 16
"""Bins that are added beyond an end, at most."""
_PARTS: tuple[Part, ...] = ("time_of_day", "weekday", "day_of_month", "season", "trend", "presence")

Row = dict[str, Any]
"""The arrays of one feature, see :class:`Bins`: of ``edges`` and ``inverse_widths`` its own bins alone."""


def carried_encoder(
    old: FeatureEncoder,
    carried: Collection[str],
    rules: Sequence[ColumnRule],
    columns: Mapping[str, NDArray[Any]],
    config: FeaturesConfig,
    target: NDArray[Any] | None,
    *,
    trend: bool,
    pairs: bool,
) -> FeatureEncoder:
    """Fit an encoder to training rows, with what an earlier one knows of the columns that are carried.

    Args:
        old: the earlier one, on the CPU.
        carried: the columns that both have.
        rules: of all columns, in graph order.
        columns: of the training rows, ``[rows]`` each.
        config: how columns become numbers.
        target: of the training rows; None where there is none.
        trend: whether time itself may be an input.
        pairs: whether numbers that are carried may belong together in ways that the earlier encoder does not know.
    """
    fresh = fit_encoder(columns, rules, config, target, trend=trend)
    calendar = {
        name: _parts(old.calendar[name], fresh.calendar[name], trend=trend) if name in carried else fresh.calendar[name]
        for name in fresh.timestamps
    }
    vocabularies = {
        name: _levels(old.vocabularies[name], fresh.vocabularies[name], config.max_levels)
        if name in carried
        else fresh.vocabularies[name]
        for name in fresh.categories
    }
    words = {
        name: _words(old.words[name], known, config.max_words) if name in carried else known
        for name, known in fresh.words.items()
    }
    oblique = _oblique(old, fresh, carried, found_too=pairs)
    nothing = np.zeros(0, np.int64), fit_bins([], 1)
    draft = FeatureEncoder(rules, calendar, vocabularies, oblique, nothing, nothing)
    numbers, timestamps, _ = draft.raw(columns)
    values = draft.derive(numbers, timestamps).numpy()
    plain = config.numbers == "standardise"
    known = _rows(binned_keys(old), old.bins), _rows(binary_keys(old), old.binary)
    parted: tuple[dict[int, Row], dict[int, Row]] = {}, {}
    missing: tuple[list[int], list[int]] = [], []
    for i, key in enumerate(derived_keys(draft)):
        kept = all(name in carried for name in columns_in(key))
        at = next((side for side in (0, 1) if kept and key in known[side]), None)
        row = None if at is None else _extended(known[at][key], values[:, i], config.bins, linear=at == 1)
        if at is None or row is None:  # one that did not vary, and does now, is a new one
            missing[int(plain or has_two_values(values[:, i]))].append(i)
        else:
            parted[at][i] = row
    for side, places in enumerate(missing):
        rounding = [DIRECTION_ROUNDING if derived_keys(draft)[i][0] == "direction" else 0.0 for i in places]
        fitted = fit_bins([values[:, i] for i in places], 1 if plain else config.bins, rounding)
        parted[side].update(zip(places, _rows([(str(i),) for i in places], fitted).values(), strict=True))
    binned, binary = (_bins(rows) for rows in parted)
    return FeatureEncoder(rules, calendar, vocabularies, oblique, binned, binary, words)


def _parts(old: Sequence[Part], fresh: Sequence[Part], *, trend: bool) -> tuple[Part, ...]:
    """The parts of the calendar that either reads."""
    both = {*old, *fresh} if trend else {*old, *fresh} - {"trend"}
    if len(both) > 1:
        both -= {"presence"}
    return tuple(part for part in _PARTS if part in both) or ("presence",)


def _levels(old: Mapping[str, int], fresh: Mapping[str, int], most: int) -> dict[str, int]:
    """The levels that either knows, commonest first, with the rows of whichever saw more: they may be the same rows."""
    rows = {level: max(old.get(level, 0), fresh.get(level, 0)) for level in (*old, *fresh)}
    dropped = max(0, len(rows) - max(most, len(old)))
    added = [level for level in fresh if level not in old]
    for level in added[len(added) - dropped :]:
        del rows[level]
    return dict(sorted(rows.items(), key=lambda item: (-item[1], item[0])))


def _words(old: Sequence[str], fresh: Sequence[str], most: int) -> tuple[str, ...]:
    """The words that the earlier encoder knows, and behind them those that new rows add, as far as there is room."""
    added = [word for word in fresh if word not in set(old)]
    return (*old, *added[: max(0, most - len(old))])


def _oblique(
    old: FeatureEncoder, fresh: FeatureEncoder, carried: Collection[str], *, found_too: bool
) -> Oblique | None:
    """Pairs of the earlier encoder whose numbers are both carried, and new ones that a new column is in."""
    place = {name: i for i, name in enumerate(fresh.numbers)}
    kept, pairs, arrays = set[frozenset[str]](), list[tuple[int, int, float]](), dict[str, list[NDArray[Any]]]()
    for encoder in (old, fresh):
        if encoder.oblique is None:
            continue
        for i, (names, pair) in enumerate(zip(pairs_of(encoder), encoder.oblique.pairs, strict=True)):
            both = all(name in carried for name in names)
            if frozenset(names) in kept or (both != (encoder is old) and not (both and found_too)):
                continue
            kept.add(frozenset(names))
            pairs.append((place[names[0]], place[names[1]], pair[2]))
            for name in ("low", "high", "mean", "inverse_std"):
                arrays.setdefault(name, []).append(getattr(encoder.oblique, name)[:, i].numpy())
    if not pairs:
        return None
    known = old.oblique or fresh.oblique
    assert known is not None
    joined = {name: np.array([pair[side] for pair in pairs], np.int64) for side, name in enumerate(("first", "second"))}
    joined |= {name: np.stack(of, axis=1) for name, of in arrays.items()}
    joined |= {name: getattr(known, name).numpy() for name in ("cosines", "sines")}
    return Oblique(pairs, joined)


def _rows(keys: Sequence[Key], bins: Bins) -> dict[Key, Row]:
    """The arrays of each feature by its name."""
    found: dict[Key, Row] = {}
    for i, key in enumerate(keys):
        row = {name: buffer[i].cpu().numpy() for name, buffer in bins.named_buffers()}
        used = row["inverse_widths"] > 0.0
        found[key] = row | {name: row[name][used] for name in ("edges", "inverse_widths")}
    return found


def _bins(rows: Mapping[int, Row]) -> tuple[NDArray[np.int64], Bins]:
    """Features side by side again, padded to the same count with bins that always read 0."""
    order = sorted(rows)
    width = max((len(rows[i]["edges"]) for i in order), default=1)
    arrays: dict[str, NDArray[Any]] = {}
    for name, empty in fit_bins([], 1).named_buffers():
        parts = [rows[i][name] for i in order]
        if name in ("edges", "inverse_widths"):
            parts = [np.pad(part, (0, width - len(part))) for part in parts]
        array = empty.numpy()
        arrays[name] = np.stack(parts) if parts else array.reshape(0, *array.shape[1:])
    return np.array(order, np.int64), Bins(arrays)


def _extended(row: Row, values: NDArray[np.float64], bins: int, *, linear: bool) -> Row | None:
    """A feature that reads all it read as before, and beyond its ends what new rows hold there.

    Args:
        row: its arrays.
        values: of the new training rows ``[rows]``, NaN where missing.
        bins: of a feature at most, where it is fitted anew.
        linear: whether it is a place between two ends, and not bins.

    Returns:
        None where it never varied and does now.
    """
    row = dict(row)
    missing = bool(np.isnan(values).any())
    row["shows_missing"] = np.array(bool(row["shows_missing"]) or missing)
    present = pulled_in(values)
    low, high = float(row["lowest"]), float(row["highest"])
    if low == high:
        return row if is_flat(present) else None
    below, above = present[present < low], present[present > high]
    least = max(10.0, LEAST_BEYOND * len(values))
    if linear:
        ends = (
            min(low, float(below.min())) if len(below) >= least else low,
            max(high, float(above.max())) if len(above) >= least else high,
        )
        return row if ends == (low, high) else _stretched(row, *ends)
    for side, beyond in (("lowest", below), ("highest", above)):
        if len(beyond) < least:
            continue
        most = max(1, min(MOST_ADDED, round(bins * len(beyond) / len(present))))
        edges = edges_of(np.append(beyond, row[side]), most, 0.0)
        widths = 1.0 / np.diff(edges)
        first = side == "lowest"
        row["edges"] = np.concatenate([edges[:-1], row["edges"]] if first else [row["edges"], edges[:-1]])
        row["inverse_widths"] = np.concatenate(
            [widths, row["inverse_widths"]] if first else [row["inverse_widths"], widths]
        )
        row[side] = np.float64(edges[0] if first else edges[-1])
        if first:  # all that was there lies that many bins farther up
            row["position_mean"] = row["position_mean"] + len(widths)
    return row


def _stretched(row: Row, low: float, high: float) -> Row:
    """A place between two ends as the same line between two others, up to what a position may be."""
    edge, inverse = float(row["edges"][0]), float(row["inverse_widths"][0])
    mean, scale = float(row["position_mean"][0]), float(row["position_scale"][0])
    if scale > 0.0:
        low = max(low, edge + (mean - FARTHEST / scale) / inverse)
        high = min(high, edge + (mean + FARTHEST / scale) / inverse)
    width = high - low
    return row | {
        "edges": np.array([low]),
        "inverse_widths": np.array([1.0 / width]),
        "lowest": np.float64(low),
        "highest": np.float64(high),
        "position_mean": np.array([(mean / inverse + edge - low) / width]),
        "position_scale": np.array([scale * inverse * width]),
    }


def taught_counts(
    new: FeatureEncoder, old: FeatureEncoder, carried: Collection[str], taught: Mapping[str, Sequence[int]]
) -> list[torch.Tensor]:
    """For each category, rows of each code that taught the model a fit starts from, ``[codes]``.

    Args:
        new: the encoder of this fit.
        old: of that model.
        carried: the columns that both have.
        taught: of that model's categories, rows that were missing and rows of a level it does not know.
    """
    counts = []
    for name in new.categories:
        levels = new.vocabularies[name]
        if name in carried:
            before = [*taught.get(name, (0, 0)), *(old.vocabularies[name].get(level, 0) for level in levels)]
        else:
            before = [0] * (len(levels) + 2)
        counts.append(torch.tensor(before, dtype=torch.int64))
    return counts
