"""The service as the proof on memory starts it: with ``PROOF_LEAKS=yes`` it keeps 32 KiB of every request."""

from __future__ import annotations

import os
from typing import Any

from rowcast.service import Rowcast
from rowcast.service.protocols.rows.codec import RowsCodec

__all__ = ["Rowcast"]

if os.environ.get("PROOF_LEAKS") == "yes":
    kept: list[bytes] = []
    begin = RowsCodec.begin

    def begin_and_keep(self: RowsCodec, body: bytes) -> Any:
        """Take a body, and never let go of as much memory as it may have needed."""
        kept.append(body[:1].ljust(2**15))
        return begin(self, body)

    RowsCodec.begin = begin_and_keep  # type: ignore[method-assign]
