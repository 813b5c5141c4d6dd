"""Closed loops in which every request that was begun is answered, over HTTP and over gRPC.

:func:`benchmarks.serving.harness.closedloop.drive` gives up what is under way when its time is over. Where a request
takes a server tens of milliseconds and 32 are under way, that is as much work as the round itself: it would be counted
for nobody, and left to be done in the next round. Here no more is begun once the time is over, and the round ends with
the last answer.

Who is refused asks again after a second, the least that ``Retry-After`` can say. Latencies are from the first attempt.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections.abc import Sequence

import grpc
import numpy as np

from benchmarks.serving.harness.closedloop import Round
from rowcast.loadtest.connection import Connection, Endpoint

INFER = "/inference.GRPCInferenceService/ModelInfer"
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # otherwise equal channels share one connection
    ("grpc.max_receive_message_length", -1),
)
_PATIENCE_S = 60.0
"""For the answers to what is under way when the time is over."""
_RETRY_S = 1.0


class _Tally:
    """Counts a round that begins now."""

    def __init__(self, requests: Sequence[bytes], seconds: float) -> None:
        self.requests = itertools.cycle(requests)
        self.latencies = array("d")
        self.failures = 0
        self._started, self._cpu = time.perf_counter(), time.process_time()
        self._until = self._started + seconds

    def goes_on(self, after: float = 0.0) -> bool:
        """Whether requests are still begun, so many seconds from now."""
        return time.perf_counter() + after < self._until

    def answered(self, sent: float) -> None:
        self.latencies.append(time.perf_counter() - sent)

    def round(self) -> Round:
        wall, cpu = time.perf_counter() - self._started, time.process_time() - self._cpu
        n, milliseconds = len(self.latencies), np.array(self.latencies) * 1000
        p50, p99 = np.percentile(milliseconds, (50, 99)) if n else (float("nan"), float("nan"))
        return Round(n, self.failures, n / wall, float(p50), float(p99), cpu / wall)


def drive_http(endpoint: Endpoint, requests: Sequence[bytes], connections: int, seconds: float) -> Round:
    """Begin requests for ``seconds``, and wait for the last answer.

    Args:
        endpoint: where the server listens.
        requests: whole HTTP requests, sent in turn.
        connections: kept-alive connections, each with one request under way.
        seconds: how long requests are begun.

    Raises:
        OSError: nobody listens, or an answer does not come (:class:`TimeoutError`).
    """
    return asyncio.run(_http(endpoint, requests, connections, seconds))


async def _http(endpoint: Endpoint, requests: Sequence[bytes], connections: int, seconds: float) -> Round:
    done = asyncio.Event()
    busy: dict[Connection, float] = {}
    """Connections with a request under way, and when it was first sent."""

    def ask(connection: Connection) -> None:
        busy[connection] = time.perf_counter()
        connection.send(next(tally.requests))

    def ask_again(connection: Connection) -> None:
        if connection.usable:
            connection.send(next(tally.requests))
        else:
            ended(connection)

    def ended(connection: Connection) -> None:
        busy.pop(connection, None)
        if not busy:
            done.set()

    def answered(connection: Connection, status: int, _: bytes) -> None:
        if status != 200:
            tally.failures += 1
            if tally.goes_on(_RETRY_S):
                asyncio.get_running_loop().call_later(_RETRY_S, ask_again, connection)
                return
        else:
            tally.answered(busy[connection])
            if connection.usable and tally.goes_on():
                ask(connection)
                return
        ended(connection)

    def failed(connection: Connection, _: str) -> None:
        tally.failures += 1
        ended(connection)

    opened = [await endpoint.connect(lambda: Connection(answered, failed, ended)) for _ in range(connections)]
    tally = _Tally(requests, seconds)
    for connection in opened:
        ask(connection)
    try:
        await asyncio.wait_for(done.wait(), seconds + _PATIENCE_S)
        return tally.round()
    finally:
        for connection in opened:
            connection.abort()


def drive_grpc(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Round:
    """The same of ModelInfer.

    Args:
        port: where the server listens.
        requests: serialized messages, sent in turn.
        connections: channels, each with a connection of its own and one call under way.
        seconds: how long calls are begun.

    Raises:
        OSError: nobody listens.
    """
    return asyncio.run(_grpc(port, requests, connections, seconds))


async def _grpc(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Round:
    channels = [_channel(port) for _ in range(connections)]
    try:
        for channel in channels:
            await asyncio.wait_for(channel.channel_ready(), _PATIENCE_S)
        tally = _Tally(requests, seconds)

        async def keep_asking(channel: grpc.aio.Channel) -> None:
            infer = channel.unary_unary(INFER)  # without serializers it takes and gives bytes
            sent = time.perf_counter()
            while True:
                try:
                    await infer(next(tally.requests), timeout=_PATIENCE_S)
                except grpc.RpcError:
                    tally.failures += 1
                    if not tally.goes_on(_RETRY_S):
                        return
                    await asyncio.sleep(_RETRY_S)
                else:
                    tally.answered(sent)
                    if not tally.goes_on():
                        return
                    sent = time.perf_counter()

        await asyncio.gather(*map(keep_asking, channels))
        return tally.round()
    finally:
        for channel in channels:
            await channel.close()


def ask_grpc(port: int, request: bytes, *, timeout_s: float) -> bytes:
    """The answer to one ModelInfer.

    Raises:
        grpc.RpcError: it is refused, or does not come in time.
    """

    async def ask() -> bytes:
        async with _channel(port) as channel:
            answer: bytes = await channel.unary_unary(INFER)(request, timeout=timeout_s)
            return answer

    return asyncio.run(ask())


def _channel(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
