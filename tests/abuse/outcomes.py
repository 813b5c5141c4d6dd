"""What may come of a body made at random: right columns, or a refusal that a client can use."""

from __future__ import annotations

import numpy as np

from rowcast.models.errors import RequestError
from rowcast.service.columns.named import Columns
from tests.abuse.mutations import MAX_ROWS


def check(got: Columns | RequestError) -> None:
    """A refusal has a client's status, a text and few faults; columns have rows, and no number that was not sent."""
    if isinstance(got, RequestError):
        assert got.status in {400, 413}
        assert len(got.faults) <= RequestError.MAX_FAULTS
        assert str(got)
    else:
        assert 1 <= len(got) <= MAX_ROWS
        assert not any(np.isinf(block).any() for block in got.blocks if block.dtype == np.float64)
