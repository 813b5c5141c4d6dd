"""A table without a target in, published weights out: the steps of pre-training in their order."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from rowcast.models.errors import ConfigError, TableError
from rowcast.models.pretrained import PRETRAINED_METRIC, StoredPretrained, publish_pretrained
from rowcast.models.repository import Repository
from rowcast.models.signature import MAX_COLUMNS, check_model_name
from rowcast.models.summary import WEIGHTS_FILE
from rowcast.training.budget.first_use import pay_first_use
from rowcast.training.columns.infer import ColumnRule, check_names, read_column
from rowcast.training.config import Config, to_toml
from rowcast.training.data.split import split_random
from rowcast.training.data.table import Table, sha256_of
from rowcast.training.device import same_bits, training_device
from rowcast.training.export.precheck import check_encoder
from rowcast.training.features.describe import describe_columns
from rowcast.training.features.encoder import FeatureEncoder, fit_encoder
from rowcast.training.fit.augment import Augment
from rowcast.training.fit.history import HISTORY_FILE, to_csv
from rowcast.training.fit.interrupt import Interrupt, ended_by_signals
from rowcast.training.fit.loop import Batch, FitResult, Progress, Report, fit
from rowcast.training.fit_network import joined, seed_of
from rowcast.training.network.network import Ensemble, Network
from rowcast.training.prepare import decide_columns, open_source
from rowcast.training.pretrain.reconstruction import Reconstruction
from rowcast.training.start.begin import rows_of_codes
from rowcast.training.start.record import START_FILE, Record, taught_of
from rowcast.training.stream.choose import refuse_streamed
from rowcast.training.threads import usable_threads
from rowcast.training.train import recorded_versions

CHANGED = 0.3
"""Share of the values that are taken from other rows, unless ``augment`` says otherwise; .3 as in VIME (Yoon et al.
2020)."""
MIN_ROWS = 10
"""Fewer tell nothing about how columns go together."""


@dataclass(frozen=True)
class PreTrained:
    """Published weights, and how their training went."""

    stored: StoredPretrained
    fit: FitResult
    rows: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """What ``rowcast pretrain --json`` prints."""
        manifest = self.stored.manifest
        return {
            "name": manifest.name,
            "version": manifest.version,
            "path": str(self.stored.path),
            "rows": self.rows,
            "metrics": manifest.metrics,
            "decisions": manifest.decisions,
            "seconds": round(self.fit.seconds, 3),
            "epochs": self.fit.epochs,
            "stopped": self.fit.stopped,
        }


def pretrain(
    source: Any,
    config: Config,
    *,
    name: str,
    repository: Repository,
    report: Report = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> PreTrained:
    """Train a network to put right changed rows of a table, and publish its weights: a fit may start from them.

    Args:
        source: a file or a data frame, see :func:`rowcast.training.data.table.read_table`.
        config: columns that ``config.data`` gives a role (target, weight, group, ...) are no inputs.
        name: to publish under.
        repository: where to.
        report: called after each look at the validation rows; to answer with what is true ends the fit.
        say: told of a signal that came.

    Raises:
        ConfigError: the config asks for what needs a target.
        TableError: the table cannot be used; names row, column and the way out.
        DeviceError: a demanded device is absent.
        ModelError: the name is not valid, or the repository cannot be written.
        TrainingError: the fit cannot go on.
    """
    check_model_name(name)
    config = _with_changes(config)
    refuse_streamed(source, config.data, "pre-training")
    device = training_device(config.device, config.fit.precision)
    repository.check_writable(name)
    refuse_streamed(source, config.data, "pre-training")
    table = open_source(source, config)
    parts, rules, decisions = _columns_of(table, config)
    train = parts[0]
    encoder = fit_encoder(train, rules, config.features, None, trend=not config.data.split_by_time)
    check_encoder(encoder)
    goal = Reconstruction(encoder.to(device))
    if goal.n_columns == 0:
        raise TableError(
            f"{table.source}: pre-training learns what stands in numbers, dates and categories, and every column is a "
            "text: train on rows with a target"
        )
    rows = [_batch(part, encoder, goal, device) for part in parts]
    rows[1] = _changed_once(rows[1], config)
    with ExitStack() as stack:
        decisions += stack.enter_context(usable_threads())
        interrupt = stack.enter_context(ended_by_signals())
        if config.fit.budget_s != "none":
            pay_first_use(config, device)
        networks, result = _fit(config, encoder, goal, rows[0], rows[1], report, interrupt)
        if interrupt:
            say(f"{interrupt.name}: the fit ends, and the best weights so far are published")
            decisions.append(f"{interrupt.name} ended the fit, and the best weights so far are published")
        whole = networks[0] if len(networks) == 1 else Ensemble(networks)
        whole.settle(rows_of_codes(rows[0], encoder, None))
        encoder, whole = encoder.cpu(), whole.cpu()
        taught = taught_of(encoder, networks[0])
        record = Record(calendar=encoder.calendar, taught=taught, words=encoder.words, answers=None)
        stored = publish_pretrained(
            repository,
            name,
            {
                "columns": describe_columns(encoder, train, rules),
                "metrics": {"validation": {PRETRAINED_METRIC: result.validation_loss}},
                "decisions": decisions,
                "config": config.model_dump(mode="json"),
                "data": {"rows": len(table), "source": table.source, "sha256": sha256_of(source, table)},
                "versions": recorded_versions(),
            },
            {
                WEIGHTS_FILE: to_safetensors(_weights_of(encoder, whole)),
                "config.toml": to_toml(config).encode(),
                HISTORY_FILE: to_csv(result.history),
                START_FILE: record.to_json(),
            },
        )
        interrupt.published = True
    return PreTrained(stored, result, {"train": len(rows[0]), "validation": len(rows[1])})


def _with_changes(config: Config) -> Config:
    """With a share of values that are changed, where nothing is said of it.

    Raises:
        ConfigError: rows are to be mixed, or something is to start from a model.
    """
    if config.augment.mixup:
        raise ConfigError(
            f"'augment.mixup' must be 0 for a pre-training, which asks what a row held, got {config.augment.mixup:g}"
        )
    if config.fit.freeze != "none" or config.fit.refit is True or config.fit.folds != "none":
        raise ConfigError(
            "'fit.freeze', 'fit.refit' and 'fit.folds' are for a fit with a target: leave them out of a pre-training"
        )
    if config.network.module:
        raise ConfigError("a network of one's own is given to a fit with a target, and cannot be pre-trained")
    if any(config.augment.model_dump().values()):
        return config
    return config.model_copy(update={"augment": config.augment.model_copy(update={"swap": CHANGED})})


def _columns_of(
    table: Table, config: Config
) -> tuple[list[dict[str, NDArray[Any]]], tuple[ColumnRule, ...], list[str]]:
    """Columns of the training rows and of the validation rows, how they are read, and what was decided.

    Raises:
        TableError: the table cannot be used.
    """
    data = config.data
    if len(table) < MIN_ROWS:
        raise TableError(f"{table.source} must hold at least {MIN_ROWS} rows to pre-train on, got {len(table)}")
    split = split_random(len(table), seed=config.seed, labels=None, test=0.0, validation=data.validation_share)
    train, held_out = table.take(split.train), table.take(split.validation)
    check_names(train, data.target, drop=data.no_inputs)
    rules, columns, decisions = decide_columns(train, None, config)
    if not rules:
        raise TableError(f"no column of {table.source} is left to learn from: {'; '.join(decisions)}")
    if len(rules) > MAX_COLUMNS:
        raise TableError(
            f"a model takes {MAX_COLUMNS:,} columns at most, got {len(rules):,} in {table.source}: leave some out with "
            "--drop"
        )
    of_others = {rule.name: read_column(held_out, rule) for rule in rules}
    roles = sorted(data.no_inputs & set(table.names))
    said = [f"{', '.join(map(repr, roles))} {'is' if len(roles) == 1 else 'are'} no input"] if roles else []
    return [dict(columns), of_others], rules, [*table.notes, *said, *decisions]


def _batch(
    columns: dict[str, NDArray[Any]], encoder: FeatureEncoder, goal: Reconstruction, device: torch.device
) -> Batch:
    numbers, timestamps, codes = (tensor.to(device) for tensor in encoder.raw(columns))
    features = encoder.derive(numbers, timestamps)
    places = encoder.bags.places(columns)
    words = None if places is None else places.to(device)
    return Batch(features, codes, goal.targets(features, codes), words=words)


def _changed_once(rows: Batch, config: Config) -> Batch:
    """Validation rows, changed in the same way each time that they are looked at."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Augment(config.augment, rows, 0)(rows)


def _fit(
    config: Config,
    encoder: FeatureEncoder,
    goal: Reconstruction,
    train: Batch,
    validation: Batch,
    report: Report,
    interrupt: Interrupt,
) -> tuple[list[Network], FitResult]:
    """``config.fit.seeds`` networks, and how their fits went."""
    device, started = train.target.device, time.monotonic()
    networks: list[Network] = []
    fits: list[FitResult] = []
    for number in range(config.fit.seeds):
        if fits and interrupt:
            raise ConfigError(f"{interrupt.name} ended fit {number} of {config.fit.seeds}: nothing was published")
        spent = time.monotonic() - started
        budget = config.fit.budget_s
        if budget != "none":
            budget = max(budget - spent, 1e-6) / (config.fit.seeds - number)

        def told(progress: Progress, number: int = number, spent: float = spent) -> object:
            done = (number + progress.done) / config.fit.seeds
            return report(replace(progress, done=done, seconds=spent + progress.seconds))

        seed = seed_of(config, number)
        with torch.random.fork_rng(devices=[]), same_bits(device, asked=config.fit.deterministic):
            torch.manual_seed(seed)
            network = Network(
                config.network,
                encoder.n_features,
                encoder.d_encoded,
                encoder.level_counts,
                goal.n_outputs,
                n_binary=encoder.n_binary,
                word_counts=encoder.bags.counts,
            ).to(device)
            result = fit(
                network,
                encoder,
                goal,
                train,
                validation,
                config.fit.model_copy(update={"budget_s": budget}),
                config.optimizer,
                generator=torch.Generator().manual_seed(seed),
                augment=Augment(config.augment, train, 0),
                report=told,
                interrupt=interrupt,
            )
        networks.append(network)
        fits.append(result)
    return networks, joined(fits)


def _weights_of(encoder: FeatureEncoder, network: nn.Module) -> dict[str, Tensor]:
    """All arrays but those of the last layer, which answers what nobody asks again."""
    named = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    named |= {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in named.items()
        if "heads." not in name
    }
