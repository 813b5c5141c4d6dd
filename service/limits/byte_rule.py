"""How much of a worker a body may take: its memory, and the time of its event loop. docs/serving.md says the same.

What is decoded from a body, all of it together while it is decoded, takes at most :data:`DECODED_MULTIPLE` times the
body's length plus :data:`DECODED_BYTES`, and the event loop is held for at most :data:`LOOP_SECONDS` at a time. So
counts are compared with what a request may hold before anything is built, and long bodies are decoded in steps.
"""

from __future__ import annotations

DECODED_MULTIPLE = 8
"""Bytes in memory for each byte of a body. An ASCII text with one emoji in it takes four for a character, twice."""
DECODED_BYTES = 8 * 2**20
"""Bytes beyond that: for as many values as a request of the most rows may have, a number in JSON takes ten times its
length, and a text of three letters twelve times."""
LOOP_SECONDS = 0.05
"""How long the decoding of a body may hold the event loop, for a body of 16 MiB at most."""
MAX_QUEUE_ROWS = 16_384
"""Rows that may wait: four requests of the most rows. A row waits in about a kilobyte, so this is some 16 MB."""
MAX_ROWS = 4096
"""Rows that a request may hold unless ROWCAST_MAX_ROWS says otherwise."""
SMALL_BODY = 2**16
"""Bytes that are decoded in milliseconds and little memory, whatever they are, where texts are taken as they stand."""
SMALL_BODY_OF_TEXTS = 2**13
"""The same where a model reads texts one by one: 900 of nine bytes take 25 us each."""
MAX_TEXT_BYTES = 2**21
"""Bytes of a text in JSON, of a row in JSON, and of what is around the long lists of a body in JSON. A parser reads
them in one call, which takes up to 12 ms a megabyte."""
STEP_BYTES = 2**19
"""Bytes that are looked at in one step: a millisecond or two."""
