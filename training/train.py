"""A table in, a published model out: the steps of training in their order."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors

from models.errors import ConfigError, DeviceError, TableError
from models.repository import Repository, StoredModel
from models.session import Session
from models.signature import Signature, check_model_name
from training.columns import ColumnRule, check_names, infer_columns, read_column
from training.config import Config, to_toml
from training.evaluate import COVERAGE, fit_temperature, interval_half_width
from training.export import Core, check_parity, export
from training.features import Front, describe_columns, fit_front
from training.fit import Batch, Fit, Progress, fit, outputs_of
from training.leakage import suspected_leaks
from training.network import Network
from training.objective import ClassHead, Objective
from training.predict import metrics_of, predict_columns
from training.reading import level_texts
from training.split import Split, split_by_group, split_by_time, split_random
from training.table import Table, read_table
from training.target import Target, read_target, read_target_like

RECORDED_VERSIONS = ("torch", "onnx", "onnxruntime", "numpy", "polars")


@dataclass(frozen=True)
class Part:
    """Training, validation or test rows: columns ``[rows]`` by name, and the target's values ``[rows]``."""

    columns: Mapping[str, NDArray[Any]]
    target: NDArray[Any]

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class Prepared:
    """A table read, split and understood; of statistics it holds only what training rows gave."""

    target: Target
    rules: tuple[ColumnRule, ...]
    decisions: tuple[str, ...]
    front: Front
    train: Part
    validation: Part
    test: Part
    data: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """A published model and how its training went."""

    model: StoredModel
    fit: Fit
    rows: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """What ``rowcast train --json`` prints."""
        manifest = self.model.manifest
        return {
            "name": manifest.name,
            "version": manifest.version,
            "path": str(self.model.path),
            "task": manifest.signature.task,
            "rows": self.rows,
            "metrics": manifest.metrics,
            "parity": manifest.parity,
            "decisions": manifest.decisions,
            "seconds": round(self.fit.seconds, 3),
            "epochs": self.fit.epochs,
        }


def train(
    source: Any,
    config: Config,
    *,
    name: str,
    repository: Repository,
    validation: Any = None,
    test: Any = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Train a model on a table and publish it.

    Args:
        source: a file or a data frame, see :func:`training.table.read_table`.
        config: see :class:`training.config.Config`; ``config.data.target`` names the target.
        name: of the model.
        repository: where to publish.
        validation: a table of validation rows; without it they are split from ``source``.
        test: a table that is only evaluated; without it, test rows are split from ``source``.
        report: called after each epoch.

    Raises:
        TableError: the table cannot be used; names row, column and the way out.
        DeviceError: a demanded device is absent.
        ModelError: the name is not valid, or the repository cannot be written.
        TrainingError: the fit cannot go on.
        ExportRefused: the graph does not answer as the network does.
    """
    check_model_name(name)
    device = resolve_device(config.device)
    repository.check_writable()
    prepared = prepare(source, config, validation=validation, test=test)
    decisions = list(prepared.decisions)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        objective = Objective(prepared.target, config.objective)
        front = prepared.front
        network = Network(
            config.network, front.n_features, front.d_encoded, front.level_counts, objective.n_outputs
        ).to(device)
        front.to(device)
        objective.head.to(device)
        train_rows = to_batch(prepared.train, front, objective, device)
        validation_rows = to_batch(prepared.validation, front, objective, device)
        how = fit(
            network,
            front,
            objective,
            train_rows,
            validation_rows,
            config.fit,
            config.optimizer,
            generator=torch.Generator().manual_seed(config.seed),
            report=report,
        )
    _settle(network, train_rows, front)
    decisions += calibrate(objective, network, front, validation_rows)

    core = Core(front, network, objective.head).cpu().eval()
    signature = Signature(
        task=prepared.target.task,
        target=prepared.target.name,
        classes=prepared.target.classes,
        intervals=prepared.target.task == "regression",
        columns=describe_columns(front, prepared.train.columns, prepared.rules),
    )
    graph = export(core, signature)
    parity = check_parity(core, graph, _held_out(prepared))
    model = repository.publish(
        name,
        {
            "signature": signature,
            "metrics": _metrics(graph, prepared),
            "parity": parity.as_dict(),
            "decisions": decisions,
            "config": config.model_dump(mode="json"),
            "data": prepared.data | {"front": front.fingerprint()},
            "versions": _versions(),
        },
        {
            "model.onnx": graph,
            "weights.safetensors": to_safetensors({k: v.contiguous() for k, v in core.state_dict().items()}),
            "config.toml": to_toml(config).encode(),
        },
    )
    counts = {"train": len(prepared.train), "validation": len(prepared.validation), "test": len(prepared.test)}
    return Trained(model, how, counts)


def prepare(source: Any, config: Config, *, validation: Any = None, test: Any = None) -> Prepared:
    """Read, split and understand a table. Whatever is fitted here is fitted on training rows.

    Raises:
        TableError: the table cannot be used; names row, column and the way out.
    """
    data = config.data
    table = _open(source, config)
    if not data.target:
        raise TableError("a target is needed: name the column to predict with --target")
    target = read_target(table, data.target, task=data.task, null=data.null)
    split = _split(table, target, config, own_validation=validation is not None, own_test=test is not None)

    train_table = table.take(split.train)
    check_names(train_table, data.target, ())
    exclude = (data.target, data.group) if data.group else (data.target,)
    rules, decisions = infer_columns(train_table, exclude=exclude, category=data.category, null=data.null)
    if not rules:
        raise TableError(
            f"no column of {table.source} is left to learn from: "
            + ("; ".join(decisions) or "it holds only the target")
        )
    train_columns = {rule.name: read_column(train_table, rule) for rule in rules}
    if data.split_by_time:
        decisions.append(f"split by time along {data.split_by_time!r}: the latest rows are the test rows")
    if data.group:
        decisions.append(f"split by group: rows of one {data.group!r} stay on one side, and it is no input")
    front = fit_front(train_columns, rules, config.features, trend=not data.split_by_time)
    fitted_target = _target_of(target, split.train, table)
    decisions += suspected_leaks(train_columns, rules, fitted_target)

    def part(other: Any, positions: NDArray[np.int64]) -> Part:
        if other is None:
            rows = table.take(positions)
            return Part({r.name: read_column(rows, r) for r in rules}, _known(fitted_target, target, positions, table))
        own = _open(other, config)
        return Part(read_columns(own, rules), read_target_like(own, fitted_target, null=data.null))

    return Prepared(
        target=fitted_target,
        rules=rules,
        decisions=tuple(decisions),
        front=front,
        train=Part(train_columns, fitted_target.values),
        validation=part(validation, split.validation),
        test=part(test, split.test),
        data={"rows": len(table), "sha256": _sha256_of(source, table), "source": table.source},
    )


def to_batch(part: Part, front: Front, objective: Objective, device: torch.device) -> Batch:
    """Rows resident on the device, with the calendar already read off their timestamps."""
    numbers, moments, codes = (tensor.to(device) for tensor in front.raw(part.columns))
    return Batch(front.derive(numbers, moments), codes, objective.encode(part.target).to(device))


def read_columns(table: Table, rules: tuple[ColumnRule, ...]) -> dict[str, NDArray[Any]]:
    """Columns of a table by the rules of training.

    Raises:
        TableError: a column is absent, or holds a value that does not fit.
    """
    absent = [rule.name for rule in rules if rule.name not in table.names]
    if absent:
        raise TableError(
            f"{table.source} lacks {', '.join(map(repr, absent))}; its columns: {', '.join(table.names)}; "
            "map other names with --rename old=new"
        )
    return {rule.name: read_column(table, rule) for rule in rules}


def resolve_device(name: str) -> torch.device:
    """The device to train on: ``auto`` is the first CUDA device where there is one.

    Raises:
        DeviceError: CUDA was demanded and is absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if re.fullmatch(r"cpu|cuda(:\d+)?", name) is None:
        raise DeviceError(f"a device is auto, cpu, cuda or cuda:N, however: {name!r}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise DeviceError(f"{name} was demanded, but PyTorch finds {found} CUDA devices; use --device cpu or auto")
    return device


def calibrate(objective: Objective, network: Network, front: Front, validation: Batch) -> list[str]:
    """Set the head's temperature or interval on validation rows; say what was decided."""
    outputs = outputs_of(network, front, validation)
    head = objective.head
    if isinstance(head, ClassHead):
        temperature = fit_temperature(head.log_mean(outputs).cpu().numpy(), validation.target.cpu().numpy())
        head.temperature.fill_(temperature)
        if temperature == 1.0:
            return ["probabilities are left as they are: no temperature gave the validation rows a better log-loss"]
        return [f"probabilities are calibrated at temperature {temperature:.3f}, chosen on validation rows"]
    residuals = outputs.to(torch.float64).mean(dim=0).squeeze(-1) - validation.target
    width = interval_half_width((residuals * head.scale).cpu().numpy())
    head.half_width.fill_(width)
    return [f"intervals reach {width:.4g} to either side, which held {COVERAGE:.0%} of the validation rows"]


def _open(source: Any, config: Config) -> Table:
    table = read_table(source, encoding=config.data.encoding)
    if config.data.rename:
        table = table.rename(config.data.rename)
    return table.drop(config.data.drop) if config.data.drop else table


def _split(table: Table, target: Target, config: Config, *, own_validation: bool, own_test: bool) -> Split:
    data = config.data
    test_share = 0.0 if own_test else data.test_share
    # With a test table of its own, the table is split 80/20 as it would be without its test rows.
    validation_share = 0.0 if own_validation else data.validation_share / (1.0 - data.test_share if own_test else 1.0)
    if data.split_by_time and data.group:
        raise ConfigError("a table is split by time or by group, however: both --split-by-time and --group are given")
    if own_validation and own_test:
        nothing = np.zeros(0, np.int64)
        return Split(np.arange(len(table)), nothing, nothing)
    if data.split_by_time:
        moments = _moments(table, data.split_by_time, data.null)
        return split_by_time(moments, test=test_share, validation=validation_share)
    if data.group:
        table.require(data.group, "--group names")
        texts = level_texts(table, table.frame[data.group]).fill_null("").to_numpy()
        return split_by_group(texts, seed=config.seed, test=test_share, validation=validation_share)
    labels = None if target.task == "regression" else target.values
    return split_random(len(table), seed=config.seed, labels=labels, test=test_share, validation=validation_share)


def _moments(table: Table, name: str, null: Collection[str]) -> NDArray[Any]:
    """The column that the table is split along."""
    if name not in table.names:
        raise TableError(
            f"--split-by-time names {name!r}, which {table.source} lacks; its columns: {', '.join(table.names)}"
        )
    only = [other for other in table.names if other != name]
    rules, _ = infer_columns(table.drop(only), null=null, keep=True)
    rule = rules[0]
    if rule.kind == "category" or rule.kind == "boolean":
        raise TableError(f"--split-by-time needs a timestamp or number column, however: {name!r} is a {rule.kind}")
    values = read_column(table, rule)
    missing = np.isnan(values) if values.dtype.kind == "f" else values == np.iinfo(np.int64).min
    if missing.any():
        where = table.where(int(missing.argmax()))
        raise TableError(f"--split-by-time {name}: {where} holds no value there; drop such rows first")
    return values


def _target_of(target: Target, positions: NDArray[np.int64], table: Table) -> Target:
    """The target as training rows tell it: their values and, in whole-table order, the classes they hold."""
    values = target.values[positions]
    held = set(values) if target.classes else set()
    classes = tuple(label for label in target.classes if label in held)
    if target.classes and len(classes) < 2:
        raise TableError(
            f"the training rows hold one class of {target.name!r} only, {classes[0]!r}; "
            "split at random instead of by time, or train on more rows"
        )
    task = target.task if target.task == "regression" else "binary" if len(classes) == 2 else "multiclass"
    return Target(target.name, task, values, classes)


def _known(fitted: Target, target: Target, positions: NDArray[np.int64], table: Table) -> NDArray[Any]:
    """Target values of validation or test rows, whose classes training must have seen."""
    values = target.values[positions]
    if fitted.classes:
        known = set(fitted.classes)
        for position, label in zip(positions, values, strict=True):
            if label not in known:
                raise TableError(
                    f"class {label!r} of {target.name!r} occurs in {table.where(int(position))}, "
                    "but in no training row; drop those rows, or split at random instead of by time"
                )
    return values


def _settle(network: Network, train_rows: Batch, front: Front) -> None:
    if network.categories is not None:
        counts = [torch.bincount(train_rows.codes[:, i], minlength=n) for i, n in enumerate(front.level_counts)]
        network.categories.settle(counts)


def _held_out(prepared: Prepared) -> Mapping[str, NDArray[Any]]:
    """Test rows for the gate, and validation rows where there are too few of them."""
    return {
        rule.name: np.concatenate([prepared.test.columns[rule.name], prepared.validation.columns[rule.name]])
        for rule in prepared.rules
    }


def _metrics(graph: bytes, prepared: Prepared) -> dict[str, Any]:
    """Metrics of the exported graph itself, so that they are those of what is served."""
    session = Session(graph, "cpu", threads=os.cpu_count() or 1)
    metrics: dict[str, Any] = {}
    coverage: dict[str, float] = {}
    for name, part in (("validation", prepared.validation), ("test", prepared.test)):
        predictions = predict_columns(session, part.columns)
        metrics[name] = metrics_of(predictions, part.target, prepared.target.classes)
        if predictions.lower is not None and predictions.upper is not None:
            inside = (predictions.lower <= part.target) & (part.target <= predictions.upper)
            coverage[name] = float(inside.mean())
    if coverage:
        metrics["interval_coverage"] = {"level": COVERAGE} | coverage
    return metrics


def _sha256_of(source: Any, table: Table) -> str:
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    buffer = io.BytesIO()
    table.frame.write_ipc(buffer)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _versions() -> dict[str, str]:
    import onnxruntime

    found = {"onnxruntime": onnxruntime.__version__}
    return {name: found.get(name) or installed_version(name) for name in RECORDED_VERSIONS}
