"""A long body of rows, cut into short ones, so that reading it does not hold up everybody else.

Where it is cut is only guessed: wherever a brace, a comma and a brace meet. That is enough. A beginning that opens the
rows, pieces that are rows each, and an end that closes them are, with commas between, one body with all of those rows
and nothing else; a cut inside a text leaves pieces that are no rows, and then the body has to be read as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rowcast.service.limits.byte_rule import MAX_TEXT_BYTES

PIECE_BYTES = 2**15

_OPENS = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"rows"[ \t\r\n]*:[ \t\r\n]*\[')
_CLOSES = re.compile(rb"\][ \t\r\n]*\}[ \t\r\n]*\Z")
_CUT = re.compile(rb"\}[ \t\r\n]{0,64}(,)[ \t\r\n]{0,64}\{")
_LONGEST_END = 64
_LONGEST_SEARCH = PIECE_BYTES + MAX_TEXT_BYTES + 256


def pieces(body: bytes) -> Iterator[bytes]:
    """Bodies of about :data:`PIECE_BYTES` that hold the same rows; none if it does not look as if it held rows."""
    opens = _OPENS.match(body)
    closes = _CLOSES.search(body, max(0, len(body) - _LONGEST_END))
    if opens is None or closes is None:
        return
    start, end = opens.end(), closes.start()
    while start < end:
        search_end = min(end, start + _LONGEST_SEARCH)  # what is longer holds a row that is too long
        cut = _CUT.search(body, start + PIECE_BYTES, search_end) if end - start > PIECE_BYTES else None
        stop = end if cut is None else cut.start(1)
        yield b'{"rows":[%b]}' % body[start:stop]
        start = stop + 1
