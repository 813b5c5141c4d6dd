"""Work in steps, so that whoever runs it may see to something else in between."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import TypeAlias, TypeVar

from rowcast.models.errors import Fault, RequestError
from rowcast.service.errors import bad_request

T = TypeVar("T")

_SEARCHED_BYTES = 2**20
"""Of a body, in a step: 10 ms at most."""

Steps: TypeAlias = Generator[None, None, T]
"""What yields after each step, and returns the result."""


def at_once(steps: Steps[T]) -> T:
    """The result of some steps, with nothing in between."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


async def in_turns(steps: Steps[T]) -> T:
    """The result of some steps, with others' turns of the event loop in between."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)


def holds(body: bytes, sought: bytes) -> Steps[bool]:
    """Whether a body holds some bytes, looked for piece by piece: in one go 16 MiB may take 150 ms."""
    for start in range(0, len(body), _SEARCHED_BYTES):
        if body.find(sought, start, start + _SEARCHED_BYTES + len(sought) - 1) >= 0:
            return True
        yield
    return False


def refuse_in_steps(faults: Iterator[Fault | None]) -> Steps[None]:
    """Look at as many faults as a refusal lists, of those that are looked for in steps: None is a pause.

    Raises:
        RequestError: there are any.
    """
    found: list[Fault] = []
    for fault in faults:
        if fault is None:
            yield
        else:
            found.append(fault)
            if len(found) == RequestError.MAX_FAULTS:
                break
    if found:
        raise bad_request(*found)
