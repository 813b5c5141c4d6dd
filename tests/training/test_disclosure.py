"""What is said about rows that a model could tell, and what it holds of them: in a published model, byte by byte."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from rowcast.training.columns.disclosure import ends, notes_on_classes, notes_on_levels, percentiles
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.levels import LevelRows
from rowcast.training.columns.target import Target
from rowcast.training.features.describe import describe_columns
from rowcast.training.features.encoder import FeaturesConfig, fit_encoder
from tests.support.standing_out import PLANTED, RARE, table


def test_ten_rows_lie_beyond_either_end():
    values = np.random.default_rng(0).permutation(np.arange(1000.0))
    assert ends(values) == (10.0, 989.0)
    assert ends(values, 0.05) == (50.0, 949.0)
    assert ends(np.arange(30.0)) == (3.0, 26.0), "a tenth of the rows where that is less"
    assert ends(np.array([4.0, 2.0])) == (2.0, 4.0)


def test_where_few_rows_of_many_hold_a_value_both_ends_are_their_middle():
    assert ends(np.arange(15.0), rows=1000) == (7.0, 7.0)
    assert ends(np.arange(50.0), rows=1000) == (10.0, 39.0)


@pytest.mark.parametrize("kind", ["number", "integer", "timestamp"])
def test_a_column_that_nine_rows_fill_in_tells_nothing_of_what_they_hold(kind):
    missing = np.iinfo(np.int64).min if kind == "timestamp" else np.nan
    first = 1_000_000_000_000_000 if kind == "timestamp" else 4711
    values = np.array([missing] * 491 + [first + i * 86_400_000_000 for i in range(9)])
    rule = ColumnRule("x", kind, True, frozenset())
    encoder = fit_encoder({"x": values}, [rule], FeaturesConfig(), np.zeros(0))
    (column,) = describe_columns(encoder, {"x": values}, [rule])
    assert (column.minimum, column.median, column.maximum, column.example) == (None, None, None, None)
    held = np.concatenate([buffer.numpy().ravel() for name, buffer in encoder.named_buffers() if "bins" in name])
    assert (held < 1000).all()
    more = np.concatenate([values, values[-1:]])
    encoder = fit_encoder({"x": more}, [rule], FeaturesConfig(), np.zeros(0))
    assert describe_columns(encoder, {"x": more}, [rule])[0].median is not None, "ten rows have a middle"


def test_percentiles_have_ten_rows_and_a_hundredth_of_the_rows_beyond_them():
    assert percentiles(np.arange(5000)) == (50, 4949)
    assert percentiles(np.arange(100)) == (10, 89)
    assert percentiles(np.arange(21)) == (10, 10)
    assert percentiles(np.arange(20)) is None


def test_the_signature_shows_percentiles_and_nothing_where_rows_are_too_few():
    day = 86_400_000_000
    columns = {
        "x": np.arange(500.0),
        "few": np.array([np.nan] * 485 + list(range(15))),
        "yes": np.array([0.0] * 499 + [1.0]),
        "when": np.arange(500) * day,
    }
    kinds = {"x": "number", "few": "integer", "yes": "boolean", "when": "timestamp"}
    rules = [ColumnRule(name, kind, False, frozenset()) for name, kind in kinds.items()]
    encoder = fit_encoder(columns, rules, FeaturesConfig(), np.zeros(0))
    shown = {column.name: (column.minimum, column.maximum) for column in describe_columns(encoder, columns, rules)}
    assert shown == {
        "x": (10.0, 489.0),
        "few": (None, None),
        "yes": (0.0, 1.0),
        "when": ("1970-01-11T00:00:00Z", "1971-05-05T00:00:00Z"),
    }


def test_what_is_pooled_and_what_is_listed_is_told_without_a_level():
    levels = np.array([f"person {i}" for i in range(120) for _ in range(10)] + ["rare"] * 9 + [""] * 5, dtype=object)
    rule = ColumnRule("agent", "category", True, frozenset())
    encoder = fit_encoder({"agent": levels}, [rule], FeaturesConfig(), np.zeros(0))
    pooled, listed = notes_on_levels({"agent": levels}, [rule], encoder.vocabularies, LevelRows())
    assert pooled == "levels of fewer than 10 training rows answer like unseen ones: 1 of 121 of 'agent'"
    assert listed == (
        "'agent' has 120 levels, and whoever may ask the service can list them: "
        "if they could point at persons, leave it out with --drop agent"
    )
    few = np.array(["a"] * 10 + ["b"] * 10, dtype=object)
    encoder = fit_encoder({"agent": few}, [rule], FeaturesConfig(), np.zeros(0))
    assert notes_on_levels({"agent": few}, [rule], encoder.vocabularies, LevelRows()) == []


KNOWN = (
    "levels of fewer than 10 training rows are known, as features.declared_level_rows says of declared categories: "
    "40 of 'store'; if they could point at persons: --set features.declared_level_rows=10"
)
POOLED = (
    "'store' holds such a level in 100% of the training rows, so it tells nothing: if its levels may be known, "
    "--category store and --set features.declared_level_rows=5 have those of 5 rows known"
)


def test_a_declared_category_keeps_rare_levels_where_a_setting_says_so_and_it_is_told():
    config = FeaturesConfig(declared_level_rows=5)
    levels = np.array([f"s{i}" for i in range(40) for _ in range(9)] + ["rare"] * 4, dtype=object)
    columns, vocabularies = {"store": levels}, {}
    for declared in (True, False):
        rule = ColumnRule("store", "category", False, frozenset(), declared=declared)
        encoder = fit_encoder(columns, [rule], config, np.zeros(0))
        vocabularies[declared] = encoder.vocabularies
        assert len(encoder.vocabularies["store"]) == (40 if declared else 0)
        assert fit_encoder(columns, [rule], FeaturesConfig(), np.zeros(0)).vocabularies["store"] == {}
    rule = ColumnRule("store", "category", False, frozenset(), declared=True)
    assert notes_on_levels(columns, [rule], vocabularies[True], config.level_rows) == [
        "levels of fewer than 5 training rows answer like unseen ones: 1 of 41 of 'store'",
        KNOWN,
    ]
    rule = ColumnRule("store", "category", False, frozenset())
    assert notes_on_levels(columns, [rule], vocabularies[False], config.level_rows) == [
        "levels of fewer than 10 training rows answer like unseen ones: 41 of 41 of 'store'",
        POOLED,
    ]


def test_rare_classes_are_told_of_for_they_cannot_be_hidden():
    labels = np.array(["a"] * 10 + ["b"] * 9 + ["c"] * 3, dtype=object)
    (told,) = notes_on_classes(Target("y", "multiclass", labels, ("a", "b", "c")))
    assert told == (
        "every answer names all classes of 'y', those of fewer than 10 training rows too ('b', 'c'): "
        "if they could point at persons, group them or take such rows out"
    )
    assert notes_on_classes(Target("y", "binary", labels[:10], ("a",))) == []
    assert notes_on_classes(Target("y", "regression", np.arange(5.0))) == []


# ─── a published model ───────────────────────────────────────────────────────────────────────────────────────────────


def test_no_file_of_a_model_holds_a_rare_level_or_an_extreme_of_a_row(told):
    held = b"".join((told.model.path / name).read_bytes() for name in told.model.manifest.files)
    held += (told.model.path / "model.json").read_bytes()
    assert b"north" in held, "or this test would see nothing"
    for name in RARE.values():
        assert name.encode() not in held
    born = int(np.datetime64(PLANTED["born"][:-1], "us").astype(int))
    assert struct.pack("<q", born) not in held
    assert PLANTED["born"].encode() not in held
    spread = float(np.log(table()["y"].to_numpy()).std())
    logs = [math.log(PLANTED["target"]) + n * spread for n in (-1, 0, 1)]
    for value in (PLANTED["income"], PLANTED["debt"], PLANTED["target"], *logs, float(born)):
        assert struct.pack("<d", value) not in held
        assert struct.pack("<f", value) not in held
        assert repr(value).encode() not in held


def test_the_manifest_says_what_was_pooled_and_what_its_ends_are(told):
    manifest = told.model.manifest
    assert (
        "levels of fewer than 10 training rows answer like unseen ones: 3 of 6 of 'agent', 1 of 6 of 'desk'"
        in manifest.decisions
    )
    assert set(manifest.signature.columns[0].levels) == {"north", "south", "east"}
    assert manifest.signature.ends == "percentiles"
    assert any("belong together" in decision for decision in manifest.decisions), "directions were looked at too"
