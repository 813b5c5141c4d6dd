"""What a worker says in its slot of the shared memory: whether it has opened a version, and what it was asked for.

A slot holds, behind the signs of life, a verdict and an order. Each is a number and a text; the text is written
first and the number last, so that whoever finds a new number finds its text. The supervisor only reads.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import orjson

from rowcast.service.process.heartbeat import PULSE_BYTES

_NUMBER = struct.Struct("Q")
_LENGTH = struct.Struct("H")
_VERDICT_AT, _VERDICT_BYTES = PULSE_BYTES, 504
_ORDER_AT, _ORDER_BYTES = _VERDICT_AT + _NUMBER.size + _VERDICT_BYTES, 1024
END = _ORDER_AT + _NUMBER.size + _ORDER_BYTES
"""Where the rest of a slot begins, see :mod:`rowcast.service.live.counted`."""


class Order(NamedTuple):
    """A version that somebody asked a worker to have served."""

    number: int
    """By which the answer is known; a random one."""
    name: str
    version: int | None
    """None: the newest."""
    allow_signature_change: bool
    who: str
    """For the log: the holder of a key, or where the request came from."""
    before: int = 0
    """The version that was served when it was asked; 0 for none. Where another is by now, somebody else was first."""
    trial: int = 0
    """The number of the trial that went on then; 0 for none. Where it is over by now, somebody else was first, too."""


def say_verdict(slot: memoryview, stage: int, fault: str) -> None:
    """Tell the supervisor how opening a version went.

    Args:
        slot: this worker's.
        stage: the number of the attempt.
        fault: why it failed; empty where it did not.
    """
    _write(slot, _VERDICT_AT, stage, fault.encode()[: _VERDICT_BYTES - _LENGTH.size])


def verdict(slot: memoryview, stage: int) -> str | None:
    """What the worker of a slot says of an attempt: why it failed, or an empty text; None while it says nothing."""
    number, text = _read(slot, _VERDICT_AT)
    return text.decode(errors="replace") if number == stage else None


def say_order(slot: memoryview, order: Order) -> None:
    """Ask the supervisor for something. The one before is answered, or nobody waits for it any more."""
    text = orjson.dumps(order._asdict())
    assert len(text) <= _ORDER_BYTES - _LENGTH.size, "who asks has a short name"
    _write(slot, _ORDER_AT, order.number, text)


def order(slot: memoryview) -> Order | None:
    """What the worker of a slot asked for last."""
    number, text = _read(slot, _ORDER_AT)
    return Order(**orjson.loads(text)) if number else None


def _write(slot: memoryview, at: int, number: int, text: bytes) -> None:
    start = at + _NUMBER.size
    slot[start : start + _LENGTH.size + len(text)] = _LENGTH.pack(len(text)) + text
    _NUMBER.pack_into(slot, at, number)


def _read(slot: memoryview, at: int) -> tuple[int, bytes]:
    (number,) = _NUMBER.unpack_from(slot, at)
    (length,) = _LENGTH.unpack_from(slot, at + _NUMBER.size)
    start = at + _NUMBER.size + _LENGTH.size
    return number, bytes(slot[start : start + length])
