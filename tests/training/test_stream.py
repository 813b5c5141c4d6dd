"""A table in shards trains the model of the table in memory, but for chance, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from rowcast.models import Repository
from rowcast.models.errors import ConfigError, TableError, TrainingError
from rowcast.models.machine.limits import Limit, available_memory
from rowcast.training import crossvalidate
from rowcast.training.config import make_config
from rowcast.training.fit import checkpoint
from rowcast.training.look import look
from rowcast.training.pretrain.pretrain import pretrain
from rowcast.training.stream import choose, rows, store
from rowcast.training.stream.choose import why_streamed
from rowcast.training.stream.rows import StreamedRows
from rowcast.training.stream.store import open_store
from rowcast.training.train import train
from rowcast.training.tune.rows import rows_of as rows_of_trials
from tests.support import tables

SETTINGS = {"network": {"members": 2, "layers": [16]}, "fit": {"epochs": 2, "patience": 9}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two Parquet files of 6,000 rows, of which some hold no amount."""
    frame = tables.every_kind(6_000).with_columns(
        amount=pl.when(pl.int_range(pl.len()) % 50 == 7).then(None).otherwise("amount"),
        weight=pl.int_range(pl.len()) % 3 + 0.5,
        part=pl.int_range(pl.len()) % 5,
    )
    folder = tmp_path_factory.mktemp("shards") / "t"
    folder.mkdir()
    frame[:2_000].write_parquet(folder / "a.parquet")
    frame[2_000:].write_parquet(folder / "b.parquet")
    return folder


def config_of(target, **data):
    return make_config(overrides={**SETTINGS, "data": {"target": target, "drop": ["part", "weight"], **data}})


def fitted(source, home, target="amount", **data):
    return train(source, config_of(target, **data), name="m", repository=Repository(home))


@pytest.fixture(scope="module")
def both(folder, tmp_path_factory):
    """The models of the table in shards, with statistics off all training rows, and of the table in memory."""
    home = tmp_path_factory.mktemp("models")
    drop = ["part", "weight", "class"]
    return fitted(folder, home, in_memory=False, drop=drop), fitted(folder, home, drop=drop)


def kinds(trained):
    return {column.name: (column.kind, column.nullable) for column in trained.model.manifest.signature.columns}


def test_kinds_are_those_of_the_table_in_memory_and_metrics_are_near(both):
    shards, memory = both
    assert kinds(shards) == kinds(memory)
    assert {"size", "count", "member", "city", "when"} == set(kinds(shards))
    assert sum(shards.rows.values()) == sum(memory.rows.values()) == 5_880
    one, other = (trained.model.manifest.metrics["test"]["rmse"] for trained in both)
    assert one == pytest.approx(other, rel=0.15)


def test_best_makes_no_fit_on_all_rows_of_which_some_alone_are_in_memory(folder, tmp_path):
    fit = {"epochs": 1, "seeds": 1}
    data = {"target": "amount", "drop": ["part", "weight"], "in_memory": False}
    config = make_config(overrides={**SETTINGS, "preset": "best", "fit": fit, "data": data})
    trained = train(folder, config, name="m", repository=Repository(tmp_path))
    assert (config.fit.refit, trained.model.manifest.data.get("refit")) == ("auto", None)


def test_what_was_read_off_a_sample_is_told(both):
    decisions = both[0].model.manifest.decisions
    n = both[0].rows["train"]
    assert decisions[0] == (
        f"the table is read in shards, as data.in_memory says: what is read off training rows is read off all {n:,}"
    )
    assert "120 of 6,000 rows have no 'amount' and are left out" in decisions
    assert any(text.startswith("rows are held out at random, as a hash of their numbers says") for text in decisions)
    assert both[0].model.manifest.data["rows"] == 5_880
    assert both[0].model.manifest.data["sha256"] == both[1].model.manifest.data["sha256"]


def test_the_same_seed_gives_the_same_bits_from_parquet_and_csv(folder, tmp_path):
    frame = pl.read_parquet(folder / "*.parquet")
    frame.write_csv(tmp_path / "t.csv")
    data = {"in_memory": False, "sample_rows": 1_000, "category": ["count"]}
    hashes = set()
    for source in (folder, tmp_path / "t.csv"):
        trained = fitted(source, tmp_path / "home", "class", drop=["part", "weight", "amount"], **data)
        hashes.add(trained.model.manifest.files["weights.safetensors"])
    assert len(hashes) == 1
    told = trained.model.manifest.decisions[0]
    assert told.endswith(" test rows, drawn at random")
    kinds = (
        f"kinds, bins and the unit of the target are those of 1,000 of {trained.rows['train']:,} training rows, drawn "
    )
    assert f"{kinds}at random, and levels those of all; metrics, " in told
    assert trained.rows["test"] == 1_000


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (
            {"split_by_time": "when"},
            "split by time along 'when': the latest rows are the test rows, from times on",
        ),
        ({"group": "city"}, "split by group: rows of one 'city' stay on one side"),
    ],
)
def test_shards_are_split_as_the_table_would_be(folder, tmp_path, data, note):
    data = {**data, "in_memory": False, "sample_rows": 1_000, "drop": ["part"], "weight": "weight"}
    frame = pl.read_parquet(folder / "*.parquet").drop_nulls("when")
    frame = frame.with_columns(city=pl.concat_str("city", pl.int_range(pl.len()) % 40, separator=" "))
    frame.write_parquet(tmp_path / "t.parquet")
    trained = fitted(tmp_path / "t.parquet", tmp_path / "home", **data)
    decisions = trained.model.manifest.decisions
    assert any(text.startswith(note) for text in decisions)
    assert any(text.startswith("rows count as 'weight' says") for text in decisions)


# ─── what stays bounded ──────────────────────────────────────────────────────────────────────────────────────────────


def streamed(monkeypatch, values, buffer_rows):
    """Rows of one number each, which is their target, too."""
    monkeypatch.setattr(rows, "MOST_ROWS", buffer_rows)
    monkeypatch.setattr(rows, "LEAST_ROWS", buffer_rows)
    record = np.dtype(
        [("numbers", "<f8", (1,)), ("timestamps", "<i8", (0,)), ("codes", "<i4", (0,)), ("target", "<f8")]
    )
    records = np.zeros(len(values), record)
    records["numbers"][:, 0] = records["target"] = values
    kept = open_store(record, len(values))
    held = kept.__enter__()
    held.append(records[:1000])
    held.append(records[1000:])
    converted = SimpleNamespace(store=held, ends=(0.0, 1.0), mean_weight=None, code_counts=())
    some = SimpleNamespace(device=torch.device("cpu"), features=torch.zeros(1, 1), codes=torch.zeros(1, 0))
    encoder = SimpleNamespace(derive=lambda numbers, _: numbers)
    objective = SimpleNamespace(classes=(), encode=lambda values: torch.from_numpy(values.astype(np.float32)))
    return kept, StreamedRows(converted, some, encoder, objective)


@pytest.mark.parametrize(("n", "batch"), [(5_000, 100), (5_120, 256), (5_001, 700), (300, 100)])
def test_an_epoch_holds_each_row_once_in_an_order_that_hangs_on_the_seed_alone(monkeypatch, n, batch):
    kept, rows_ = streamed(monkeypatch, np.arange(n, dtype=np.float64), 1_024)

    def epoch(generator):
        shuffled = rows_.shuffled(generator)
        read = [shuffled(start, start + batch) for start in range(0, n - batch + 1, batch)]
        assert all(torch.equal(part.features[:, 0].float(), part.target) for part in read)
        return torch.cat([part.target for part in read]).long().tolist()

    generator = torch.Generator().manual_seed(3)
    first, second = epoch(generator), epoch(generator)
    kept.__exit__(None, None, None)
    assert len(set(first)) == len(first) == n // batch * batch
    assert first != second
    assert first != sorted(first)
    kept, rows_ = streamed(monkeypatch, np.arange(n, dtype=np.float64), 1_024)
    assert epoch(torch.Generator().manual_seed(3)) == first
    kept.__exit__(None, None, None)


def test_rows_can_be_gone_on_with_in_the_middle_of_an_epoch(monkeypatch):
    kept, rows_ = streamed(monkeypatch, np.arange(5_000, dtype=np.float64), 1_024)
    shuffled = rows_.shuffled(torch.Generator().manual_seed(0))
    whole = [shuffled(start, start + 100).target for start in range(0, 5_000, 100)]
    again = rows_.shuffled(torch.Generator().manual_seed(0))
    assert torch.equal(again(3_700, 3_800).target, whole[37])
    kept.__exit__(None, None, None)


def test_a_fit_on_shards_goes_on_from_its_checkpoint_to_the_same_bits(folder, both, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "LEAST_SECONDS", 0.0)

    def broken(progress):
        if progress.epoch == 2:
            raise ZeroDivisionError

    def run(**how):
        config = config_of("amount", in_memory=False, drop=["part", "weight", "class"])
        return train(folder, config, name="m", repository=Repository(tmp_path), checkpoint=tmp_path / "kept", **how)

    with pytest.raises(ZeroDivisionError):
        run(callbacks=[broken])
    files, whole = run(resume=True).model.manifest.files, both[0].model.manifest.files
    assert files["weights.safetensors"] == whole["weights.safetensors"]


# ─── what is refused, and what is left ───────────────────────────────────────────────────────────────────────────────


def nothing_left(folder, repository):
    return (list(Path(folder).iterdir()), (repository / "m").exists()) == ([], False)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder of temporary files that begins empty."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return path


def test_a_disk_without_room_is_told_before_anything_is_written(folder, temporary, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(TrainingError) as error:
        fitted(folder, tmp_path / "home", in_memory=False)
    said = f"a table in shards needs 0.3 MiB in {temporary} for its encoded training rows, and 0.0 MiB is free there: "
    assert str(error.value) == f"{said}name a folder of a larger disk in the environment variable TMPDIR"
    assert nothing_left(temporary, tmp_path / "home")


def test_the_temporary_file_has_no_name_so_that_a_kill_leaves_nothing(temporary):
    with open_store(np.dtype("<f8"), 10) as kept:
        kept.append(np.arange(10.0))
        assert list(temporary.iterdir()) == []
        read = np.empty(3)
        kept.read(4, read)
    assert read.tolist() == [4.0, 5.0, 6.0]


def test_a_disk_that_is_full_in_the_middle_is_told(folder, temporary, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "os", SimpleNamespace(**{**vars(os), "write": full}))
    with pytest.raises(TrainingError, match=r" for its encoded training rows, and no more is free there: name "):
        fitted(folder, tmp_path / "home", in_memory=False)
    assert nothing_left(temporary, tmp_path / "home")


def test_a_value_that_fits_no_kind_of_the_sample_is_named_and_nothing_is_left(temporary, tmp_path):
    frame = tables.every_kind(3_000).with_columns(pl.col("size").cast(pl.String)).drop("class")
    frame[2_000, "size"] = "large"
    frame.write_csv(tmp_path / "t.csv")
    with pytest.raises(TableError) as error:
        fitted(tmp_path / "t.csv", tmp_path / "home", in_memory=False, sample_rows=1_000, drop=[])
    assert str(error.value).startswith(
        "t.csv: column 'size' holds 'large' in row 2001 (line 2002), which is not a number: correct it"
    )
    assert nothing_left(temporary, tmp_path / "home")


NO_SHARDS = (
    "'data.in_memory' may be false for files of Parquet, Arrow or delimited text that are not packed, but a data frame "
    "is in memory already: write it as Parquet first"
)


@pytest.mark.parametrize(
    ("source", "settings", "said"),
    [
        ("frame", {}, NO_SHARDS),
        ("folder", {"fit": {"refit": True}}, "'fit.refit' must be false for a table that is read in shards"),
    ],
)
def test_what_shards_cannot_do_is_refused_with_the_way_out(folder, tmp_path, source, settings, said):
    config = make_config(overrides={**settings, "data": {"target": "amount", "in_memory": False}})
    given = folder if source == "folder" else tables.every_kind(60)
    with pytest.raises(ConfigError) as error:
        train(given, config, name="m", repository=Repository(tmp_path))
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("what", "work"),
    [
        ("cross-validation", lambda source, config, home: crossvalidate.cross_validate(source, config)),
        ("tuning", lambda source, config, home: rows_of_trials(source, config, None)),
        ("pre-training", lambda source, config, home: pretrain(source, config, name="m", repository=Repository(home))),
    ],
)
def test_what_needs_the_table_in_memory_says_so(folder, tmp_path, what, work):
    with pytest.raises(TableError, match=rf"^{what} needs the table in memory, but it is to be read in shards, as "):
        work(folder, config_of("amount", in_memory=False), tmp_path)


def test_a_look_at_a_table_in_shards_is_one_at_a_sample(folder):
    data = {"drop": ["part"], "sample_rows": 1_000, "in_memory": False}
    seen = look(folder, config_of("amount", **data))
    assert seen["rows"] == 6_000
    said = "what is seen is that of 1,000 of 6,000 rows, drawn at random, as data.in_memory says"
    assert said in seen["warnings"]
    whole = look(folder, config_of("amount", drop=["part"]))
    kinds = [[(column["name"], column["kind"]) for column in one["columns"]] for one in (seen, whole)]
    assert kinds[0] == kinds[1]


def test_too_few_groups_for_every_part_are_told(folder, tmp_path):
    with pytest.raises(TableError, match=r"part: split otherwise, or raise its share; by groups there may be too few "):
        fitted(folder, tmp_path, in_memory=False, group="class", sample_rows=1_000)


def test_a_target_without_any_value_is_told(tmp_path):
    tables.every_kind(60).with_columns(amount=pl.lit(None, pl.Float64)).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"^t\.parquet: no row holds a value of the target 'amount', so there is "):
        fitted(tmp_path / "t.parquet", tmp_path / "home", in_memory=False, drop=[])


# ─── which tables are read in shards ─────────────────────────────────────────────────────────────────────────────────


def test_a_table_is_read_in_shards_if_it_does_not_fit_in_memory(folder, tmp_path, monkeypatch):
    data = config_of("amount").data
    assert why_streamed(folder, data) == ""
    monkeypatch.setattr(choose, "available_memory", lambda: Limit(2**20, "memory limit of /x"))
    why = why_streamed(folder, data)
    assert why.startswith("since whole it would take about ")
    assert why.endswith(", and 1.0 MiB are free (memory limit of /x)")
    assert why_streamed(folder, data.model_copy(update={"in_memory": True})) == ""
    assert why_streamed(tables.every_kind(60), data) == ""
    with (tmp_path / "t.csv.gz").open("wb") as stream:
        stream.truncate(2**20)
    with pytest.raises(
        TableError, match=r"t\.csv\.gz must fit in memory, since t\.csv\.gz is packed; it would take at least "
    ):
        why_streamed(tmp_path / "t.csv.gz", data)


def test_the_memory_that_is_free_is_the_least_of_the_machine_and_its_limits(tmp_path):
    files = {
        "proc/meminfo": "MemTotal: 100 kB\nMemAvailable:    2048 kB",
        "proc/self/status": "VmRSS:   1024 kB",
        "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw",
        "proc/self/cgroup": "0::/a",
        "sys/fs/cgroup/a/memory.max": "max",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert available_memory(tmp_path) == Limit(2048 * 1024, "memory of the machine")
    (tmp_path / "sys/fs/cgroup/a/memory.max").write_text(str(2**21))
    assert available_memory(tmp_path) == Limit(2**21 - 2**20, "memory limit of /sys/fs/cgroup/a")
