"""Networks of several folds as one: each behind the front of its fold, all in the units of one head."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rowcast.training.export.graph import Core
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.network.head import ClassHead, RegressionHead
from rowcast.training.network.link import LogLink
from rowcast.training.network.network import Embedded, Ensemble
from rowcast.training.network.transform import TargetTransform


class FoldedCore(Core):
    """Everything between codes and answers, of several folds whose members answer together.

    ``encoder`` is the front of the first fold, ``further`` are those of the others, and ``network`` holds the networks
    of all, fold after fold. What a member says is in the unit of its own fold's target, and is put into that of the
    head: ``scale * said + shift``. Where only some folds learn from a target of 0, their logarithm is of ``1 + y``, as
    that of the head, and that of the others of ``y``: what these say becomes ``ln(y)`` by ``scale`` and ``shift``, then
    ``ln(1 + y)`` in the unit of the head.

    Args:
        folds: of each the front, the network and a head whose unit it speaks in.
        head: of all.

    Shape: the inputs of :class:`rowcast.training.export.graph.Core` for each front, one after the other.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, folds: Sequence[Core], head: ClassHead | RegressionHead) -> None:
        groups = [networks_of(fold) for fold in folds]
        networks = Ensemble([network for group in groups for network in group])
        super().__init__(folds[0].encoder, networks, head)
        self.further: Sequence[FeatureEncoder] = nn.ModuleList([fold.encoder for fold in folds[1:]])  # type: ignore[assignment]
        self.sizes = [len(group) for group in groups]
        """How many networks each fold has."""
        self.one_unit = isinstance(head, ClassHead)
        if isinstance(head, RegressionHead):
            scale, shift = zip(*(unit_of(fold, head) for fold in folds), strict=True)
            self.of_other_logs = [_shift_of(fold.head) != _shift_of(head) for fold in folds]
            """Whether the logarithm of a fold is of ``y`` where that of the head is of ``1 + y``."""
            self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
            self.register_buffer("shift", torch.tensor(shift, dtype=torch.float64))

    @property
    def fronts(self) -> tuple[FeatureEncoder, ...]:
        """See :class:`rowcast.training.export.graph.Core`."""
        return (self.encoder, *self.further)

    def fingerprint(self) -> str:
        """See :class:`rowcast.training.export.graph.Core`."""
        return hashlib.sha256("".join(front.fingerprint() for front in self.fronts).encode()).hexdigest()

    def outputs(self, fold: int, *inputs: Tensor) -> Tensor:
        """What the members of a fold say, in the unit of the head, ``[members, rows, n_outputs]`` float64.

        Args:
            fold: from 0.
            inputs: numbers, timestamps, codes, and words where there are any.
        """
        numbers, timestamps, codes, *words = inputs
        front, start = self.fronts[fold], sum(self.sizes[:fold])
        encoded = front.encode(front.derive(numbers, timestamps))
        networks = networks_of(self)[start : start + self.sizes[fold]]
        said = [network(encoded, codes, *words) for network in networks]
        whole = said[0] if len(said) == 1 else torch.cat(said)
        if self.one_unit:
            return whole.to(torch.float64)
        common = whole.to(torch.float64) * self.scale[fold : fold + 1] + self.shift[fold : fold + 1]
        return self._of_one_more(common) if self.of_other_logs[fold] else common

    def _of_one_more(self, logs: Tensor) -> Tensor:
        """``ln(1 + y)`` in the unit of the head, of ``ln(y)`` of any size; rising, so that a quantile stays one."""
        transform = self.head.transform
        assert isinstance(transform, TargetTransform)
        one = torch.ones(1, dtype=torch.float64)  # softplus: of doubles, ONNX Runtime has none
        of_one_more = torch.maximum(logs, 0.0 * one) + torch.log(torch.exp(-torch.abs(logs)) + one)
        return (of_one_more - transform.mean) / transform.scale

    def raw_output(self, *inputs: Tensor) -> Tensor:
        """See :class:`rowcast.training.export.graph.Core`."""
        said, at = [], 0
        for fold, front in enumerate(self.fronts):
            n = 4 if front.words else 3
            said.append(self.outputs(fold, *inputs[at : at + n]))
            at += n
        out: Tensor = self.head.raw_output(torch.cat(said))
        return out


def networks_of(core: Core) -> list[Embedded]:
    """The networks of a core, one or several."""
    return list(core.network.networks) if isinstance(core.network, Ensemble) else [core.network]


def unit_of(fold: Core, head: RegressionHead) -> tuple[float, float]:
    """What makes of a number in the unit of a fold's own head one in the unit of another, or ``ln(y)`` where the
    logarithm of the other is of ``1 + y``: a factor, and what is added."""
    assert isinstance(fold.head, RegressionHead)
    own, common = fold.head.transform, head.transform
    if isinstance(own, LogLink) and isinstance(common, LogLink):
        return 1.0, math.log(float(own.scale) / float(common.scale))
    assert isinstance(own, TargetTransform)
    assert isinstance(common, TargetTransform)
    ours, theirs = own.fitted, common.fitted
    if own.shift != common.shift:
        return ours.deviation, ours.centre
    scale = ours.deviation / theirs.deviation
    return scale, (ours.centre / 2.0 - theirs.centre / 2.0) / theirs.deviation * 2.0


def _shift_of(head: ClassHead | RegressionHead) -> float:
    """What is added to a target before its logarithm: 1 where a row that the head knows holds 0, else nothing."""
    assert isinstance(head, RegressionHead)
    return head.transform.shift if isinstance(head.transform, TargetTransform) else 0.0
