"""What a long request seems to ask for, seen before any of it is decoded."""

from __future__ import annotations

import re

from rowcast.service.http.endpoint import Claims

_SHAPE = re.compile(rb'"shape"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*([0-9]{1,9})')
_SHAPE_WITHIN = 4096
"""Bytes in which the first shape is looked for; where it stands behind its data, the body is held to be of one row."""
_PRIORITY = b'"priority"'
_PRIORITY_WITHIN = 65_536
"""Bytes at either end of the JSON in which a priority is looked for: to search 16 MiB takes up to 150 ms."""


def claims_of(body: bytes, json_bytes: int | None) -> Claims:
    """What the shape of its first tensor says, and the highest priority where it names any.

    Args:
        body: the request's.
        json_bytes: how much of it is JSON; None for all.
    """
    end = len(body) if json_bytes is None else min(json_bytes, len(body))
    shape = _SHAPE.search(body, 0, min(_SHAPE_WITHIN, end))
    named = body.find(_PRIORITY, 0, min(_PRIORITY_WITHIN, end)) >= 0
    named = named or body.find(_PRIORITY, max(0, end - _PRIORITY_WITHIN), end) >= 0
    return Claims(1 if shape is None else int(shape[1]), int(named))
