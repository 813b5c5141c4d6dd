"""Whether any body takes more memory or time than docs/serving.md says: ``python -m tests.abuse.body_bounds [cases]``.

Each decoder reads small bodies, damaged at random, and large ones that are hostile by design, in a process of its own.
Memory is the most that the process had (parsers in C and Rust allocate past ``tracemalloc``), time that of a step on
this thread, which others on the machine hardly change.
"""

from __future__ import annotations

import gc
import json
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rowcast.models.errors import RequestError
from rowcast.service.limits.byte_rule import DECODED_BYTES, DECODED_MULTIPLE, LOOP_SECONDS, MAX_ROWS
from rowcast.service.limits.heap import give_back_large_blocks, trim
from rowcast.service.limits.steps import Steps
from rowcast.service.protocols.arrow.stream import ArrowReader
from rowcast.service.protocols.grpc.reading import MessageReader, Readers
from rowcast.service.protocols.rows.codec import RowsCodec
from rowcast.service.protocols.rows.encode import Encoder
from rowcast.service.protocols.v2.claims import claims_of
from rowcast.service.protocols.v2.reading import InferReader
from tests.abuse import hostile_streams
from tests.service import hostile_messages, hostile_payloads, hostile_tensors
from tests.service.hostile_payloads import GOOD, ROW
from tests.service.open_inference import body as as_json
from tests.service.open_inference import request
from tests.service.rpc import message
from tests.support import handmade

SIGNATURE = handmade.BINARY
MAX_BODY = 16 * 2**20
READINGS = 3
"""How often a step is measured that takes longer than it may; the least counts, in processor time of the thread.
That is all that is allowed for a machine which others use, too: what is too slow is so each time."""


def padded(template: bytes, filler: bytes) -> bytes:
    """A body of the largest size, of a template with a place for something repeated."""
    before, after = template.split(b"@@")
    return before + filler * ((MAX_BODY - len(before) - len(after)) // len(filler)) + after


def rows_bodies() -> Iterator[bytes]:
    """Large bodies of rows, or of what looks like them."""
    yield from marks()
    row = json.dumps({"rows": [{**ROW, "carrier": "@@"}]}).encode()
    for filler in (b"z", b"\\n", b'\\"', b"\\u00e9", "é".encode(), "😀".encode()):
        yield padded(row, filler)
    yield padded(row.replace(b"@@", "😀@@".encode()), b"z")
    yield padded(row.replace(b"@@", "😀\\n@@".encode()), b"z")
    yield padded(row.replace(b'"@@"', b'"z"').replace(b"872.0", b"0.@@"), b"7")
    yield padded(row.replace(b'"@@"', b'"z"@@'), b" ")
    yield padded(b'{"rows":[@@]}', b"[1],")
    yield padded(b'{"a":1,"rows":[@@]}', json.dumps({**ROW, "carrier": "y" * 4000}).encode() + b",")
    long = {**ROW, "carrier": "y" * 3900}
    yield json.dumps({"rows": [long] * (MAX_ROWS - 1) + [{**ROW, "distance": "far"}]}).encode()
    yield json.dumps({"rows": [{**long, "carrier": 'y"' * 1800}] * MAX_ROWS}).encode()[:MAX_BODY]


def tensor_bodies() -> Iterator[bytes]:
    """Large bodies of tensors in JSON."""
    yield from marks()
    one = as_json(request({**ROW, "carrier": "@@"}))
    for filler in (b"z", b"\\n", b'\\"', "é".encode(), "😀".encode()):
        yield padded(one, filler)
    yield padded(one.replace(b"@@", "😀\\n@@".encode()), b"z")
    yield as_json(request(*[{**ROW, "carrier": "y" * 3900}] * MAX_ROWS))
    yield as_json(request(*[{**ROW, "carrier": 'y"' * 1900}] * MAX_ROWS))[:MAX_BODY]


def marks() -> Iterator[bytes]:
    """Bodies of hardly more than what stands between values."""
    for part in (b'{"a":', b"{},", b'"",', b"[", b"1,", b"[],", b'"', b'\\"', b'"a":"b",', b'{"a":"b"},', b"null,"):
        for beginning in (b'{"rows":[', b'{"inputs":[', b'{"inputs":[{"data":[', b'{"rows":[{'):
            yield padded(beginning + b"@@", part)


def binary_bodies() -> Iterator[bytes]:
    """Large bodies of raw bytes; the first four say how much of each is JSON."""
    n = (MAX_BODY - 4096) // 4
    emoji = "😀".encode() + b"z" * (n - 100)
    for tensors in (
        [(n, bytes(4 * n))],
        [(MAX_ROWS, bytes(4 * MAX_ROWS))] * 900,
        [(MAX_ROWS, (struct.pack("<I", 4000) + b"z" * 4000) * MAX_ROWS)],
        [(1, struct.pack("<I", len(emoji)) + emoji)] * 4,
    ):
        inputs = [
            {"name": "carrier", "shape": [rows], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
            for rows, raw in tensors
        ]
        text = as_json({"inputs": inputs})
        yield struct.pack("<I", len(text)) + text + b"".join(raw for _, raw in tensors)


def varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def messages() -> Iterator[bytes]:
    """Large messages."""

    def one(*fields: bytes) -> bytes:
        return field(1, b"flights") + field(5, field(1, b"carrier") + field(2, b"BYTES") + b"".join(fields))

    n = MAX_BODY - 4096
    named = b"".join(field(4, field(1, b"%06x" % i)) for i in range(n // 10))
    for contents in (b"\x42\x00" * (n // 2), field(1, b"\1" * n), field(3, b"\1" * n), field(6, bytes(n))):
        yield one(field(3, b"\1"), field(5, contents))
    yield one(named)
    yield named
    yield one(field(3, b"\1" * n))
    yield one(b"\x18\x01" * (n // 2))
    yield one(b"\x78\x01" * (n // 2))
    yield b"\x7b\x7c" * (n // 2)
    good = message(ROW).SerializeToString()
    yield good + b"\x3a\x00" * (n // 2)
    text = "😀".encode() + b"z" * (n - 100)
    for raw in (struct.pack("<I", len(text)) + text, bytes(n)):
        yield one(field(3, b"\1")) + field(7, raw)


def stream_steps(reader: ArrowReader, body: bytes) -> Steps[None]:
    """Read a stream as the service does, without running anything."""
    opened = reader.open(body)
    yield
    for _ in opened.batches():
        yield
    for part in opened.parts(opened.batches()):
        if isinstance(part, RequestError):
            raise part
        yield


def decoders() -> dict[str, tuple[Callable[[bytes], Steps[Any]], Iterator[bytes], list[bytes]]]:
    """What reads a body in steps, large bodies, and small ones to be damaged."""
    rows = RowsCodec(SIGNATURE, Encoder("bounds", 1, SIGNATURE), MAX_ROWS)
    tensors = InferReader(SIGNATURE, MAX_ROWS)
    streams = ArrowReader(SIGNATURE, MAX_ROWS, MAX_BODY)
    calls, readers = MessageReader(len(SIGNATURE.columns)), Readers(SIGNATURE, MAX_ROWS)

    def call(body: bytes) -> Steps[Any]:
        asked = yield from calls.begin(body)
        return (yield from calls.read(asked, readers))

    def text(body: bytes, json_bytes: int | None = None) -> Steps[Any]:
        claims_of(body, json_bytes)
        yield
        return (yield from tensors.steps(body, json_bytes))

    def binary(body: bytes) -> Steps[Any]:
        return text(body[4:], int.from_bytes(body[:4], "little"))

    small_binary = [
        struct.pack("<I", one.json_bytes) + one.body
        for one in hostile_tensors.HOSTILE
        if isinstance(one.json_bytes, int) and 0 <= one.json_bytes < 2**32 and len(one.body) < 2**16
    ]
    return {
        "rows": (rows.long_steps, rows_bodies(), [GOOD, *(one.body for one in hostile_payloads.PAYLOADS)]),
        "v2_json": (text, tensor_bodies(), [one.body for one in hostile_tensors.HOSTILE]),
        "v2_binary": (binary, binary_bodies(), small_binary),
        "arrow": (
            partial(stream_steps, streams),
            (one.build(MAX_BODY - 4096) for one in hostile_streams.STREAMS),
            [one.build(2**15) for one in hostile_streams.STREAMS],
        ),
        "grpc": (call, messages(), [message(ROW).SerializeToString(), *(one.sent for one in hostile_messages.HOSTILE)]),
    }


def damaged(seeds: list[bytes], chance: random.Random) -> bytes:
    """A small body, with parts of it and of others repeated, cut out or changed."""
    body = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(body) + 1)
        stop = min(len(body), at + chance.choice([1, 2, 8, 64]))
        part = bytes(body[at:stop])
        other = chance.choice(seeds)
        body[at:stop] = chance.choice([b"", part * chance.choice([2, 100]), chance.randbytes(3), other[:100]])
    return bytes(body)


def check(name: str, cases: int) -> tuple[float, float, float]:
    """Try one decoder: the most memory beyond the multiple, and the longest step of small and of large bodies.

    Raises:
        AssertionError: a body takes more than it may.
    """
    give_back_large_blocks()
    read, large, seeds = decoders()[name]
    seeds = [seed for seed in seeds if 0 < len(seed) < 2**16]
    chance = random.Random(name)
    most, longest = -1.0, [0.0, 0.0]
    small = ((False, damaged(seeds, chance)) for _ in range(cases))
    for is_large, body in chain(small, ((True, one) for one in large)):
        if is_large:
            gc.collect()
            trim()
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        seconds = steps_of(read(body))
        beyond = resident("VmHWM") - before - DECODED_MULTIPLE * len(body)
        assert beyond <= DECODED_BYTES, (name, beyond, len(body), body[:100])
        for _ in range(READINGS - 1):
            if seconds > LOOP_SECONDS:
                seconds = min(seconds, steps_of(read(body)))
        assert seconds <= LOOP_SECONDS, (name, seconds, len(body), body[:100])
        most = max(most, beyond)
        longest[is_large] = max(longest[is_large], seconds)
    return most, longest[False], longest[True]


def steps_of(steps: Steps[Any]) -> float:
    """The longest of some steps, in seconds of this thread."""
    longest = 0.0
    while True:
        started = time.thread_time()
        try:
            next(steps)
        except (StopIteration, RequestError):
            return max(longest, time.thread_time() - started)
        longest = max(longest, time.thread_time() - started)


def resident(what: str) -> int:
    """Bytes that this process has, or had at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise AssertionError(what)


def main(cases: int) -> None:
    """Try all decoders, each in a process of its own."""
    for name in ("rows", "v2_json", "v2_binary", "arrow", "grpc"):
        with get_context("spawn").Pool(1) as pool:
            most, small, large = pool.apply(check, (name, cases))
        print(
            f"{name}: {cases:,} small bodies and the large ones take at most {DECODED_MULTIPLE} times their length "
            f"{most / 2**20:+.1f} MiB; steps of small ones up to {small * 1e3:.1f} ms, of large {large * 1e3:.0f} ms"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
