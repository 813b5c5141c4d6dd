"""What the network is asked to minimise, and how its outputs become answers: one objective a task."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator
from torch import Tensor
from torch.nn import functional as F

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TableError
from rowcast.models.signature import Task, bounds_of
from rowcast.training.columns.row_weights import mean_of_one
from rowcast.training.columns.target import Target
from rowcast.training.fit.losses import (
    FARTHEST_LOG,
    class_loss,
    focal_loss,
    gamma_losses,
    mean_over_rows,
    pinball_loss,
    poisson_losses,
    tweedie_losses,
)
from rowcast.training.fit.own_loss import LossFunction, check_loss
from rowcast.training.fit.threshold import check_threshold
from rowcast.training.network.head import COVERAGE, ClassHead, Intervals, OrdinalHead, RegressionHead, answer_limits
from rowcast.training.network.link import LogLink, MeanHead
from rowcast.training.network.transform import TargetTransform
from rowcast.training.settings import ComponentConfig

MOST_LEVELS = 8
"""Of intervals."""
BOUNDS_WEIGHT = 0.3
"""Of the two quantiles' loss beside the prediction's own. At .1, .3 and 1 the RMSE stayed where it is without them, and
.3 gave narrower intervals than .1."""

MEANS = ("poisson", "gamma", "tweedie")
"""Losses of counts and amounts, which a network says the logarithm of the mean of."""
_LOSSES = {
    "classes": ("cross_entropy", "focal", "ordinal"),
    "regression": ("mse", "mae", "huber", "pinball", *MEANS),
}
_ONLY = {
    "classes": ("class_weights", "label_smoothing", "focal_gamma", "order", "calibration", "threshold"),
    "regression": ("huber_delta", "quantile", "power", "target_transform", "intervals", "coverage"),
}
_DOMINATED = {"mse": 10.0, "mae": 3.0, "huber": 3.0, "pinball": 3.0}
"""From how many times the deviation of the other rows on a few wild ones do not set the unit. What asks for a mean has
a reason to look at them; a heavy tail (lognormal of sigma 2: 4 times) stays as it is."""
_MOST_UNSCALED = 1e15
_DEVIATIONS = (1e-290, 1e290)
"""Deviations of a target: beyond these an answer a few of them away is no double any more."""
_OF_LOSS = {
    "focal_gamma": "focal",
    "huber_delta": "huber",
    "quantile": "pinball",
    "power": "tweedie",
    "order": "ordinal",
}


class ObjectiveConfig(ComponentConfig):
    """What counts as a good answer, and how answers are put right at the end."""

    loss: Literal[
        "auto", "cross_entropy", "focal", "ordinal", "mse", "mae", "huber", "pinball", "poisson", "gamma", "tweedie"
    ] = "auto"
    """auto is cross_entropy for classes and mse for regression, the proper scores of a probability and of a mean.
    ordinal is for classes in an order. mae predicts the median, pinball the quantile asked for, huber a mean that
    far-off rows pull less; poisson (counts), gamma (amounts above 0) and tweedie (amounts that may be 0) a mean that
    each column multiplies."""
    function: str = ""
    """Name of a loss of one's own. Python alone gives one, as rowcast.fit(..., loss=...); it is written down here."""
    plain: bool = False
    """Whether auto, below, stands for as little as possible: constant intervals, and no calibration."""
    class_weights: Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0.0, le=1e6)]] = "none"
    """How much a row of each class counts in the loss. balanced: every class as much as any other; a table such as
    {late = 3.0}: the others 1. Calibration takes what weights do to probabilities out again."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of a class label given to all classes evenly. Off: it makes probabilities worse."""
    focal_gamma: float = Field(2.0, gt=0.0, le=10.0)
    """Of focal: how much less a row counts that is answered well already; 2 as in its paper."""
    huber_delta: float = Field(1.0, gt=0.0, le=1e6)
    """Of huber: the error from which on a row pulls no harder, in units of the transformed target (its deviation)."""
    quantile: float = Field(0.5, gt=0.0, lt=1.0)
    """Of pinball: the share of rows that are to lie below their prediction."""
    power: float = Field(1.5, gt=1.0, lt=2.0)
    """Of tweedie: the variance is in proportion to this power of the mean; near 1 like counts, near 2 like amounts."""
    order: tuple[str, ...] = ()
    """Of ordinal: the classes from the lowest to the highest. Empty: they are numbers, and in their order."""
    target_transform: Literal["auto", "none", "standardise", "log"] = "auto"
    """How a number is written for the network; answers are in its own units always. auto is standardise, in a unit
    that a few wild rows do not set; what is asked for by name takes all rows as they are."""
    intervals: Literal["auto", "none", "constant", "quantiles"] = "auto"
    """lower and upper. constant: equally far from every prediction. quantiles: as far as two more outputs of the
    network say. Both are set on validation rows to hold the share of coverage; auto takes the one that is narrower
    there."""
    coverage: float | tuple[float, ...] = COVERAGE
    """Share of rows whose target is to lie between lower and upper, more than 0 and less than 1. Of a list they hold
    the first; for a further .5 the graph, Python and rowcast predict also give lower_50 and upper_50."""
    calibration: Literal["auto", "none", "temperature", "affine"] = "auto"
    """Of probabilities, on validation rows, kept where it lowers the log-loss of rows it was not fitted on.
    temperature: one factor of the logits. affine: a bias for each class as well. auto tries both."""
    threshold: (
        Literal["none", "f1", "balanced_accuracy"]
        | Annotated[float, Field(gt=0.0, lt=1.0)]
        | dict[str, dict[str, Annotated[float, Field(gt=0.0, le=1e6)]]]
    ) = "none"
    """What label follows, everywhere. none: the most probable class. A number: the second of two classes from that
    probability on. f1 (of the second of two classes, the mean over more), balanced_accuracy: what makes that highest on
    validation rows. What errors cost, such as {yes = {no = 5.0}} for a yes that is called no, the others 1: the class
    of the least expected cost."""

    @field_validator("coverage", mode="wrap")
    @classmethod
    def _is_one_or_a_list(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValidationError:
            raise ValueError("must be a number more than 0 and less than 1, or a list of such numbers") from None

    @field_validator("coverage")
    @classmethod
    def _are_levels(cls, value: Any) -> Any:
        levels = value if isinstance(value, tuple) else (value,)
        if not all(0.0 < level < 1.0 for level in levels):
            raise ValueError("must be more than 0 and less than 1")
        if not 1 <= len(levels) <= MOST_LEVELS or len(set(bounds_of(levels))) < 2 * len(levels):
            raise ValueError(f"must be 1 to {MOST_LEVELS} levels, each another one")
        return value

    @property
    def levels(self) -> tuple[float, ...]:
        """Shares that intervals are to hold: of lower and upper, and further ones."""
        return self.coverage if isinstance(self.coverage, tuple) else (self.coverage,)

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """What further bounds are called."""
        return () if self.bounds == "none" else bounds_of(self.levels[1:])

    @property
    def bounds(self) -> Literal["auto", "none", "constant", "quantiles"]:
        """Which intervals there are."""
        return "constant" if self.plain and self.intervals == "auto" else self.intervals

    @model_validator(mode="after")
    def _fits_together(self) -> ObjectiveConfig:
        if self.loss in MEANS and self.target_transform != "auto":
            raise ConfigError(
                f"'objective.target_transform' must be 'auto' for the {self.loss} loss, which has its own: the "
                f"logarithm of a mean; got {self.target_transform!r}"
            )
        for name in ("loss", "class_weights", "label_smoothing") if self.function else ():
            if self._asks_for(name):
                kept = type(self).model_fields[name].default
                raise ConfigError(
                    f"'objective.{name}' must be {kept!r} beside a loss of one's own, got {getattr(self, name)!r}"
                )
        for name, loss in _OF_LOSS.items():
            if self._asks_for(name) and self.loss != loss:
                raise ConfigError(
                    f"'objective.{name}' belongs to the {loss} loss; objective.loss is {self.loss!r}; "
                    f"add --set objective.loss={loss}"
                )
        for task in ("regression", "classes"):
            if self.loss in _LOSSES[task] or (self.loss == "auto" and any(map(self._asks_for, _ONLY[task]))):
                self.check_task(task)
        return self

    def check_task(self, task: str) -> None:
        """Refuse what has no meaning for a task: ``regression``, or else classes.

        Raises:
            ConfigError: names the field and its valid values.
        """
        side, other = ("regression", "classes") if task == "regression" else ("classes", "regression")
        of = "classes" if task == "classes" else f"a {task} target"
        if self.loss in _LOSSES[other]:
            way = "regression" if other == "regression" else "multiclass"
            raise ConfigError(
                f"'objective.loss' must be auto or {' or '.join(_LOSSES[side])} for {of}, got {self.loss!r}; "
                f"--task {named(way)} reads the target otherwise"
            )
        for name in filter(self._asks_for, _ONLY[other]):
            kept = type(self).model_fields[name].default
            raise ConfigError(f"'objective.{name}' must be {kept!r} for {of}, got {getattr(self, name)!r}")

    def _asks_for(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)


class Goal(Protocol):
    """As much of an objective as a fit needs."""

    def loss(self, outputs: Tensor, target: Tensor, of_rows: Tensor | None = None) -> Tensor:
        """What a step lowers, of outputs ``[members, rows, n_outputs]`` and targets ``[rows, ...]``; a scalar."""
        ...

    def score(self, outputs: Tensor, target: Tensor, of_rows: Tensor | None = None) -> Tensor:
        """What early stopping watches; lower is better."""
        ...


class Objective:
    """The loss and the head of one task, fitted on training targets.

    Args:
        target: the training rows' target.
        config: which loss.
        own: a loss in its place, see :mod:`rowcast.training.fit.own_loss`.

    Raises:
        ConfigError: the config does not fit the task, the classes or the values.
    """

    def __init__(self, target: Target, config: ObjectiveConfig, own: LossFunction | None = None) -> None:
        config.check_task(target.task)
        if own is not None:
            check_loss(own, len(target.classes))
        self.own = own
        self.task: Task = target.task
        self.classes = target.classes
        self.config = config
        self.loss_name = _LOSSES["regression" if self.task == "regression" else "classes"][0]
        if config.loss != "auto":
            self.loss_name = config.loss
        if own is not None:
            self.loss_name = "own"
        self.decisions: list[str] = []
        """What was decided about the target."""
        self.gamma = config.focal_gamma if self.loss_name == "focal" else 0.0
        self.class_weights: Tensor | None = None
        self.head: ClassHead | RegressionHead
        self.transform: TargetTransform | LogLink
        if self.task == "regression":
            intervals: Intervals = "quantiles" if config.bounds == "auto" else config.bounds
            self.n_outputs = 3 if intervals == "quantiles" else 1
            limits = answer_limits(target.values)
            if target.unit is not None:
                limits = min(limits[0], target.unit.least), max(limits[1], target.unit.most)
            if self.loss_name in MEANS:
                self.transform = LogLink(target.values, target.name, self.loss_name, limits[1], target.unit)
                power = {"poisson": 1.0, "gamma": 2.0}.get(self.loss_name, config.power)
                self.head = MeanHead(self.transform, power, intervals, limits, config.levels[0], config.levels[1:])
            else:
                self.transform = self._transform_of(target)
                self.head = RegressionHead(self.transform, intervals, limits, config.levels[0], config.levels[1:])
        elif self.loss_name == "ordinal":
            self.head = OrdinalHead(places_of(target, config.order))
            self.n_outputs = len(target.classes) - 1
        else:
            self.n_outputs = len(target.classes)
            self.head = ClassHead(self.n_outputs)
        if self.task != "regression":
            check_threshold(config.threshold, target.classes)
        if self.task != "regression" and config.class_weights != "none":
            self.class_weights = torch.from_numpy(_weights(target, config.class_weights)).to(torch.float32)

    def _transform_of(self, target: Target) -> TargetTransform:
        """What is done to a target that is neither a count nor an amount, once it is of a size that can be held."""
        plain = self.config.target_transform == "standardise"  # asked for: as it is
        name = "standardise" if self.config.target_transform == "auto" else self.config.target_transform
        dominated = math.inf if plain else _DOMINATED.get(self.loss_name, 3.0)
        transform = TargetTransform(target.values, name, dominated, target.unit)
        _check_size(transform, target)
        self.decisions = self._notes_on_wild_rows(transform, target)
        return transform

    def _notes_on_wild_rows(self, transform: TargetTransform, target: Target) -> list[str]:
        """A sentence about targets so far from all others that they would have set the unit."""
        below, above = transform.beyond(target.values)
        if (
            self.loss_name == "pinball"
            and max(below / self.config.quantile, above / (1.0 - self.config.quantile)) > 0.5
        ):
            transform.keep_wild_rows()  # half of the tail that is asked for lies out there
            return []
        low, high = transform.range
        wild = round((below + above) * len(target.values))
        if wild == 0:
            return []
        rows = (
            f"1 of {len(target.values):,} training rows holds"
            if wild == 1
            else (f"{wild:,} of {len(target.values):,} training rows hold")
        )
        otherwise = (
            ""
            if self.loss_name != "mse"
            else (", for an answer that such rows hardly move: --set objective.loss=mae or huber")
        )
        note = (
            f"{rows} a {target.name!r} beyond {low:.4g} to {high:.4g}, many times as far out as the others: it is "
            "learned as if it lay there, or it alone would set the unit in which the others are learned; to learn it "
            f"as it is: --set objective.target_transform=standardise{otherwise}"
        )
        return [note]

    def encode(self, values: NDArray[Any], *, cut_off: bool = True) -> Tensor:
        """Targets as the loss takes them: class indices int64 ``[rows]``, or transformed float32 ``[rows]``.

        ``cut_off`` is for :meth:`rowcast.training.network.transform.Transform.encode`.
        """
        if isinstance(self.head, RegressionHead):
            return torch.from_numpy(self.transform.encode(values, cut_off=cut_off))
        index = {label: i for i, label in enumerate(self.classes)}
        return torch.tensor([index[label] for label in values], dtype=torch.int64)

    def encode_taught(self, taught: NDArray[np.float64], target: Tensor) -> Tensor:
        """What a student is to answer, as the loss takes it.

        Args:
            taught: shares of the classes ``[rows, classes]``, or numbers ``[rows]``.
            target: from :meth:`encode`.

        Returns:
            shares ``[rows, classes]``, or ``[rows, 2]``: what the prediction learns, and what its bounds do.
        """
        if isinstance(self.head, ClassHead):
            return torch.from_numpy(taught).to(torch.float32)
        return torch.stack([self.encode(taught), target], dim=1)

    def loss(self, outputs: Tensor, target: Tensor, of_rows: Tensor | None = None) -> Tensor:
        """Mean over members of the mean loss over rows: every member learns the task on its own (TabM, section 3.2).

        Args:
            outputs: ``[members, rows, n_outputs]``.
            target: from :meth:`encode`, ``[rows]``, or from :meth:`encode_taught`; where rows are mixed, shares of the
                classes ``[rows, classes]``.
            of_rows: weights of the rows ``[rows]``, with a mean of 1 over all training rows.
        """
        members = outputs.shape[0]
        each = None if of_rows is None else of_rows.repeat(members)
        if isinstance(self.head, ClassHead):
            repeated = target.repeat(members, *[1] * (target.dim() - 1))
            if self.own is not None:
                return self._own_loss(outputs.flatten(0, 1), repeated, each)
            if isinstance(self.head, OrdinalHead):
                return focal_loss(
                    self.head.log_probabilities(outputs.flatten(0, 1)),
                    repeated,
                    weights=self._weights_on(outputs),
                    smoothing=self.config.label_smoothing,
                    gamma=0.0,
                    of_rows=each,
                )
            return class_loss(
                outputs.flatten(0, 1),
                repeated,
                weights=self._weights_on(outputs),
                smoothing=self.config.label_smoothing,
                gamma=self.gamma,
                of_rows=each,
            )
        # The bounds are to hold what rows hold, and not what a teacher says of them.
        wanted, held = (target, target) if target.dim() == 1 else target.unbind(dim=1)
        wanted, held = wanted.expand(members, -1), held.expand(members, -1)
        if self.own is not None:
            loss = self._own_loss(outputs[..., 0].flatten(), wanted.flatten(), each)
        else:
            loss = self._regression_loss(outputs[..., 0], wanted, of_rows)
        if self.n_outputs == 1:
            return loss
        bounds = outputs[..., 1:]
        if self.loss_name in MEANS:
            bounds = torch.exp(bounds.clamp(-FARTHEST_LOG, FARTHEST_LOG))
        low, high = (pinball_loss(bounds[..., i], held, quantile, of_rows) for i, quantile in enumerate(self.tails))
        return loss + BOUNDS_WEIGHT * (low + high)

    @property
    def tails(self) -> tuple[float, float]:
        """Quantiles that the two further outputs of a regression learn."""
        level = self.config.levels[0]
        return (1.0 - level) / 2, (1.0 + level) / 2

    def score(self, outputs: Tensor, target: Tensor, of_rows: Tensor | None = None) -> Tensor:
        """What early stopping watches, lower is better: the loss of the ensemble's own answer on validation rows."""
        if isinstance(self.head, ClassHead):
            log_mean = self.head.log_mean(outputs)
            if self.own is not None:
                return self._own_loss(log_mean.to(torch.float32), target, of_rows)
            if self.gamma == 0.0 and self.class_weights is None and of_rows is None:
                return F.nll_loss(log_mean, target)
            weights = self._weights_on(log_mean)
            return focal_loss(log_mean, target, weights=weights, smoothing=0.0, gamma=self.gamma, of_rows=of_rows)
        if self.own is not None:
            return self._own_loss(outputs[..., 0].mean(dim=0).to(target.dtype), target, of_rows)
        if isinstance(self.head, MeanHead):
            return self._regression_loss(self.head.mean(outputs[..., :1])[:, 0], target, of_rows)
        return self._regression_loss(outputs[..., 0].mean(dim=0), target, of_rows)

    def _own_loss(self, outputs: Tensor, target: Tensor, of_rows: Tensor | None) -> Tensor:
        """The mean of a loss of one's own over rows ``[n]``.

        Raises:
            ConfigError: it takes the mean itself, where rows count more or less.
        """
        assert self.own is not None
        losses = self.own(outputs, target)
        if of_rows is not None and losses.dim() == 0:
            raise ConfigError(
                "a loss of one's own must give a loss for each row where rows have weights, got their mean: leave the "
                "mean to the fit, or train without --weight"
            )
        return mean_over_rows(losses, of_rows)

    def _regression_loss(self, predicted: Tensor, wanted: Tensor, of_rows: Tensor | None) -> Tensor:
        """The loss of predictions ``[..., rows]``. Without weights PyTorch takes the mean itself, in its own order."""
        if self.loss_name == "pinball":
            return pinball_loss(predicted, wanted, self.config.quantile, of_rows)
        if self.loss_name == "poisson":
            return mean_over_rows(poisson_losses(predicted, wanted), of_rows)
        if self.loss_name == "gamma":
            return mean_over_rows(gamma_losses(predicted, wanted), of_rows)
        if self.loss_name == "tweedie":
            return mean_over_rows(tweedie_losses(predicted, wanted, self.config.power), of_rows)
        each = "mean" if of_rows is None else "none"
        if self.loss_name == "mse":
            losses = F.mse_loss(predicted, wanted, reduction=each)
        elif self.loss_name == "mae":
            losses = F.l1_loss(predicted, wanted, reduction=each)
        else:
            losses = F.huber_loss(predicted, wanted, reduction=each, delta=self.config.huber_delta)
        return losses if of_rows is None else mean_over_rows(losses, of_rows)

    @property
    def predicts_mean(self) -> bool:
        """Whether the answer is a mean, which unlike a quantile does not survive a log as it is."""
        return self.loss_name in ("mse", "huber")

    def _weights_on(self, like: Tensor) -> Tensor | None:
        if self.class_weights is not None and self.class_weights.device != like.device:
            self.class_weights = self.class_weights.to(like.device)
        return None if self.class_weights is None else self.class_weights.to(like.dtype)


def _check_size(transform: TargetTransform, target: Target) -> None:
    """Refuse what no double, or none of the network's own numbers, can hold."""
    if transform.name == "none":
        most = float(np.abs(target.values).max())
        if most > _MOST_UNSCALED:
            raise ConfigError(
                f"'objective.target_transform' may be \"none\" where no target is beyond {_MOST_UNSCALED:g}, got "
                f'{most:g}: leave it at "auto"'
            )
    least, largest = _DEVIATIONS
    unit = transform.unit
    if not least <= unit <= largest:
        power = -round(math.log10(unit))
        raise TableError(
            f"the target {target.name!r} must have a deviation of {least:g} to {largest:g} in the training rows, "
            f"got {unit:.3g}: multiply it by 1e{power} in the table, and divide answers by that"
        )


def _weights(target: Target, chosen: Literal["none", "balanced"] | dict[str, float]) -> NDArray[np.float64]:
    """Weights of the classes, whose mean over the training rows is 1, so that the learning rate means what it did.

    Where rows have weights of their own, a class has as many rows as its rows weigh. One that a model brings along, and
    no row holds, has a weight of 1, which counts nowhere.
    """
    if target.weight is None:
        counts = np.array([np.count_nonzero(target.values == label) for label in target.classes])
    else:
        of_rows = mean_of_one(target.weight)
        counts = np.array([of_rows[target.values == label].sum() for label in target.classes])
    if isinstance(chosen, str):
        weights = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    else:
        unknown = sorted(set(chosen) - set(target.classes))
        if unknown:
            raise ConfigError(
                f"'objective.class_weights' names classes of the target, {', '.join(map(repr, target.classes[:10]))}, "
                f"got {', '.join(map(repr, unknown))}"
            )
        weights = np.array([chosen.get(label, 1.0) for label in target.classes])
    scaled = np.asarray(weights * len(target.values) / (weights @ counts))
    return np.where(counts > 0, scaled, 1.0)


def places_of(target: Target, order: Sequence[str]) -> list[int]:
    """The place of each class of a target in the order of ``objective.order``, from 0 for the lowest.

    Raises:
        ConfigError: the order does not list each class once, or there is none and the classes are no numbers.
    """
    classes = target.classes
    held = ", ".join(map(repr, classes[:20]))
    if order:
        if sorted(order) != sorted(classes):
            raise ConfigError(
                f"'objective.order' must list each class of {target.name!r} once, {held}, "
                f"got {', '.join(map(repr, order[:20]))}"
            )
        return [list(order).index(label) for label in classes]
    try:
        numbers = [float(label) for label in classes]
    except ValueError:
        numbers = []
    if len(set(numbers)) != len(classes) or not np.isfinite(numbers).all():
        example = json.dumps(list(classes[:20]), ensure_ascii=False)
        raise ConfigError(
            f"'objective.loss' may be ordinal where the classes are numbers, or 'objective.order' lists them from the "
            f"lowest to the highest, got classes {held}; add them in their order, such as "
            f"--set 'objective.order={example}'"
        )
    return [sorted(numbers).index(number) for number in numbers]
