"""Names that a folder may bear and a model may not, and versions that none has."""

from __future__ import annotations

NAMES = [
    "x\ny",
    'q"<script>',
    "Upper",
    "a b",
    "a.b",
    "...",
    "..a",
    "Ünïcode",
    "\u202eevil",
    "\x1b[2J\x1b]0;owned\x07",
    "a\x9bm",
    "b\udcff",  # bytes that are no UTF-8
    "a" * 65,
    "a:1",
    "-rf ",
    "$(id)",
    "٣",
]
VERSIONS = [
    "0",
    "01",
    "007",
    "1000000000",
    "999999999999999999",
    str(2**63),
    str(10**20),
    "9" * 200,
    "٣",  # a digit, and none that a version is written in
    "²",
    "1\n",
    "-1",
    "+1",
    "1.0",
    "1 ",
    "latest",
    "\x1b[31m2",
]
