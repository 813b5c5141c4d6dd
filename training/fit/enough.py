"""Whether a fit had time enough to be one."""

from __future__ import annotations

from collections.abc import Sequence

from rowcast.training.fit.loop import FitResult, Progress


def is_too_short(looks: Sequence[Progress], result: FitResult) -> bool:
    """Whether a budget ended a fit before its first regular look at the validation rows: it has hardly learned.

    Args:
        looks: all there were; the one that the budget's end brought is no regular one.
        result: of the fit, or of several that were put together.
    """
    n_fits = max(1, len(result.fits))
    return result.stopped == "budget" and 0 < len(looks) <= n_fits and not any(look.ends_epoch for look in looks)
