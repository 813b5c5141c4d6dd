"""A fit that starts from a model, at work: the encoder, the first weights, and what stays frozen."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.fit.loop import TrainingRows
from rowcast.training.network.network import Embedded
from rowcast.training.start.encoder import carried_encoder, taught_counts
from rowcast.training.start.freeze import freeze
from rowcast.training.start.start import Start
from rowcast.training.start.target import outputs_carried
from rowcast.training.start.weights import carry_weights


@dataclass(frozen=True)
class Begun:
    """A model, and the columns of a table that it knows."""

    start: Start
    carried: frozenset[str]

    def encoder(
        self,
        columns: Mapping[str, NDArray[Any]],
        rules: Sequence[ColumnRule],
        config: FeaturesConfig,
        target: NDArray[Any] | None,
        *,
        trend: bool = True,
    ) -> FeatureEncoder:
        """As :func:`rowcast.training.features.encoder.fit_encoder`, with what the model knows."""
        return carried_encoder(
            self.start.encoder,
            self.carried,
            rules,
            columns,
            config,
            target,
            trend=trend,
            pairs=self.start.answers is None,  # without a target nothing told them
        )

    def give(
        self,
        network: Embedded,
        encoder: FeatureEncoder,
        target: Target | None,
        n_outputs: int,
        config: Config,
        number: int,
    ) -> list[str]:
        """Give a network its first weights, in place, and freeze what is to stay.

        Args:
            network: one of ``config.fit.seeds``, on its device.
            encoder: before it, on that device, too.
            target: of the training rows; None if nothing is predicted.
            n_outputs: of the network.
            config: of the fit.
            number: which one, from 0.

        Returns:
            what could not be carried over, and what is frozen, in sentences.

        Raises:
            ConfigError: they do not go together.
        """
        weights, device = self.start.networks[number], next(network.parameters()).device
        outputs = None
        if target is not None:
            # A module of one's own has no heads: it is carried as a whole, where it has as many outputs.
            n_there = weights["heads.weight"].shape[-1] if "heads.weight" in weights else n_outputs
            outputs = outputs_carried(self.start, target, config.objective, n_outputs, n_there)
        new = copy.deepcopy(encoder).cpu()
        taken = carry_weights(network.cpu(), new, self.start.encoder, weights, self.carried, outputs)
        network.to(device)
        return [*taken.notes, *freeze(network, new, self.carried, taken.known, taken.n_layers, config.fit.freeze)]

    def counts(self, encoder: FeatureEncoder) -> list[Tensor]:
        """For each category the rows of each code that taught the model, ``[codes]``."""
        device = encoder.binned_at.device
        found = taught_counts(encoder, self.start.encoder, self.carried, self.start.record.taught)
        return [count.to(device) for count in found]


def rows_of_codes(rows: TrainingRows, encoder: FeatureEncoder, begun: Begun | None) -> list[Tensor]:
    """For each category the rows that taught the network each code, ``[codes]``; see :meth:`Embedded.settle`.

    Args:
        rows: the training rows.
        encoder: that gave their codes.
        begun: the model that the fit started from.
    """
    counts = rows.counts_of_codes(encoder.level_counts)
    if begun is None:
        return counts
    return [here + before for here, before in zip(counts, begun.counts(encoder), strict=True)]
