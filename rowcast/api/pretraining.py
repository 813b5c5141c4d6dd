"""Pre-training from Python: rows without a target in, weights out that ``rowcast.fit(start_from=...)`` starts from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rowcast.api.call import call_of
from rowcast.api.display import Verbose, display_of
from rowcast.api.loading import repository_at
from rowcast.models.arguments import in_python, in_python_terms
from rowcast.training.ranks.environment import check_alone

if TYPE_CHECKING:
    from rowcast.training.pretrain.pretrain import PreTrained


@in_python_terms()
def pretrain(
    table: Any,
    *,
    name: str,
    target: str | None = None,
    repository: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    budget: str | float | None = None,
    seed: int | None = None,
    device: str | None = None,
    network: dict[str, Any] | None = None,
    verbose: Verbose = "auto",
    **sections: Any,
) -> PreTrained:
    """Learn from rows without a target how columns go together, and publish the weights.

    >>> from rowcast.api.pretraining import pretrain
    >>> pretrain(all_rows, name="people", preset="quick")                                # doctest: +SKIP
    >>> rowcast.fit(few_rows, target="income", start_from="people", preset="quick")      # doctest: +SKIP

    Args:
        table: as for :func:`rowcast.fit`.
        name: to publish under.
        target: a column that is no input, since a fit is to predict it; the table need not have it.
        repository: where to publish.
        preset: as for :func:`rowcast.fit`, and so are ``budget``, ``seed``, ``device``, ``network``, ``verbose`` and
            the sections. ``augment`` says how rows are changed; without it, 30% of the values come from other rows.

    Raises:
        RowcastError: see :mod:`rowcast.models.errors`.
    """
    check_alone("rowcast.api.pretraining.pretrain")
    call = call_of(
        table,
        None,
        target,
        {},
        {"preset": preset, "seed": seed, "device": device, **sections},
        budget=budget,
        network=network,
        loss=None,
        needs_target=False,
        arguments=["table", "name", "target", "repository", "preset", "budget", "seed", "device", "network", "verbose"],
    )
    from rowcast.training.pretrain.pretrain import pretrain as run

    with display_of(verbose) as display:
        return run(
            call.data.source,
            call.config,
            name=name,
            repository=repository_at(repository),
            report=display.report,
            say=lambda text: display.say(in_python(text)),
        )
