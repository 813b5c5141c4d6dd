"""``start.json``: what a further fit needs to know of a model besides its weights and its signature.

None of it says more of the training rows than the graph does: parts of the calendar, counts, and the unit of the
network's answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rowcast.models.signature import Task
from rowcast.training.columns.target import Target, Unit
from rowcast.training.export.graph import Core
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.network.head import ClassHead, OrdinalHead, RegressionHead
from rowcast.training.network.network import Embedded, Ensemble
from rowcast.training.network.transform import TargetTransform

START_FILE = "start.json"
FORMAT = 1


@dataclass(frozen=True)
class Answers:
    """What the outputs of a network stand for."""

    target: str
    task: Task
    head: str
    """``classes``, ``ordinal``, or for a number the name of its transform or of its loss."""
    classes: tuple[str, ...] = ()
    """In the order of the outputs; of ``ordinal`` the order of its levels."""
    unit: dict[str, Any] | None = None
    """Fields of :class:`rowcast.training.columns.target.Unit`."""


@dataclass(frozen=True)
class Record:
    """What ``start.json`` holds."""

    calendar: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The parts that are read off each timestamp."""
    correlations: Sequence[float] = ()
    """Of the pairs of numbers that are read along directions."""
    taught: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """For each category, training rows that were missing, and rows of a level that the model does not know."""
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of each text the words that the model knows."""
    answers: Answers | None = None
    """None where the model was trained without a target."""
    format: int = FORMAT

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Record:
        """What a file holds.

        Raises:
            ValueError: it is of a later format.
            TypeError: it is no such record.
        """
        if given.get("format") != FORMAT:
            raise ValueError(f"{START_FILE} must be of format {FORMAT}, got {given.get('format')!r}")
        fields = dict(given)
        answers = fields.pop("answers")
        if answers is not None:
            answers = Answers(**{**answers, "classes": tuple(answers["classes"])})
        return cls(**fields, answers=answers)

    def to_json(self) -> bytes:
        """The file."""
        return json.dumps(asdict(self), indent=1).encode()


def record_of(core: Core, target: Target | None) -> Record:
    """What is kept of a fit.

    Args:
        core: trained.
        target: of the training rows; None where there was none.
    """
    encoder = core.encoder
    network = core.network.networks[0] if isinstance(core.network, Ensemble) else core.network
    return Record(
        calendar=encoder.calendar,
        correlations=[r for _, _, r in encoder.oblique.pairs] if encoder.oblique is not None else [],
        taught=taught_of(encoder, network),
        words=encoder.words,
        answers=None if target is None else answers_of(core.head, target),
    )


def taught_of(encoder: FeatureEncoder, network: Embedded) -> dict[str, list[int]]:
    """For each category, training rows that were missing, and of a level that is not known; of a settled network."""
    taught = network.categories.taught if network.categories is not None else []
    return dict(zip(encoder.categories, taught, strict=True))


def answers_of(head: ClassHead | RegressionHead, target: Target) -> Answers:
    """What the outputs of a network stand for, as its head reads them."""
    if isinstance(head, OrdinalHead):
        order = sorted(zip(head.places.tolist(), target.classes, strict=True))
        return Answers(target.name, target.task, "ordinal", tuple(label for _, label in order))
    if isinstance(head, ClassHead):
        return Answers(target.name, target.task, "classes", target.classes)
    transform, least, most = head.transform, float(head.least), float(head.most)
    if isinstance(transform, TargetTransform):
        fitted = transform.fitted
        unit = Unit(transform.name, fitted.centre, fitted.deviation, transform.shift, least, most)
    else:
        unit = Unit(transform.loss, 0.0, float(transform.scale), 0.0, least, most)
    return Answers(target.name, target.task, unit.transform, (), unit._asdict())
