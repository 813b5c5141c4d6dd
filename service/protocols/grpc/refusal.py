"""How a call over gRPC is refused, without keeping anything of it.

``context.abort`` raises, and grpc keeps what it raised with the call: the exception, its traceback, every frame that it
passed through and whatever those frames hold. Where one of them holds the context, which belongs to the call, that is a
cycle, and the message of a refused call (16 MiB, say) stays until the cyclic collector happens to come. So a method
here returns its refusal, and the one frame that an exception passes through lets go of the context before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import grpc

Context: TypeAlias = Any
"""``grpc.aio.ServicerContext[bytes, bytes]``; grpc brings no types along."""


class Refusal(NamedTuple):
    """Why a call is not answered."""

    code: grpc.StatusCode
    words: str
    metadata: tuple[tuple[str, str], ...] = ()
    """What follows the status."""


Behaviour: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
"""What grpc calls for a call: with its messages and its context."""


def refusing(method: Callable[[Context], Awaitable[bytes | Refusal]]) -> Behaviour:
    """What grpc is to call for a method that returns its answer or its refusal, and raises neither."""

    async def behave(requests: Any, context: Context) -> bytes:
        outcome = await method(context)
        if not isinstance(outcome, Refusal):
            return outcome
        aborting = context.abort(*outcome)
        del requests, context
        await aborting
        raise AssertionError("abort raises")

    return behave
