"""Requests of one row each, no two alike, in every protocol, and which version answers each."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import pyarrow as pa

from proofs.client import Connection, post
from rowcast.models.arrow import MEDIA_TYPE
from rowcast.models.values import parse_timestamp
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from rowcast.service.rollout.trial import KEY
from tests.service import open_inference
from tests.service.hostile_payloads import ROW
from tests.service.rpc import message

Ask: TypeAlias = Callable[[int, str], Awaitable[int]]
"""Asks with the row of this number, and this key if it is any; gives the version that answers."""

_V2_PATH = "/v2/models/flights/infer"


def row(i: int) -> dict[str, Any]:
    """One of the rows."""
    return {**ROW, "stops": 1 + i % 3, "distance": 100 + i / 64}


class Asking:
    """Asks a service, over connections that are kept.

    Args:
        port: of HTTP.
        grpc_port: of gRPC.
    """

    def __init__(self, port: int, grpc_port: int) -> None:
        self._port = port
        self._idle: deque[Connection] = deque()
        self._channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}", options=(("grpc.use_local_subchannel_pool", 1),))
            for _ in range(8)
        ]
        self._methods = [
            channel.unary_unary(
                f"/{SERVICE}/ModelInfer",
                request_serializer=REQUEST_CLASSES["ModelInfer"].SerializeToString,
                response_deserializer=RESPONSE_CLASSES["ModelInfer"].FromString,
            )
            for channel in self._channels
        ]
        self.protocols: dict[str, Ask] = {
            "rows": self._rows,
            "V2 JSON": self._v2,
            "V2 binary": self._binary,
            "gRPC": self._grpc,
            "Arrow": self._arrow,
        }

    async def all(self, ask: Ask, asked: list[tuple[int, str]], at_once: int = 16) -> list[int]:
        """The versions that answer these, so many being asked at a time."""
        versions, todo = [0] * len(asked), deque(enumerate(asked))

        async def worker() -> None:
            while todo:
                at, (i, key) = todo.popleft()
                versions[at] = await ask(i, key)

        await asyncio.gather(*(worker() for _ in range(at_once)))
        return versions

    async def counts(self, ask: Ask, first: int, n: int) -> Counter[int]:
        """How many of some requests without a key each version answers."""
        return Counter(await self.all(ask, [(first + i, "") for i in range(n)]))

    async def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()
        for channel in self._channels:
            await channel.close()

    async def _send(self, request: bytes, key: str) -> bytes:
        if key:
            request = request.replace(b"\r\n", b"\r\n%b: %b\r\n" % (KEY, key.encode()), 1)
        connection = self._idle.popleft() if self._idle else Connection(self._port)
        status, _, body = await connection.ask(request)
        self._idle.append(connection)
        assert status == 200, f"{status}: {body[:200]!r}"
        return body

    async def _rows(self, i: int, key: str) -> int:
        body = await self._send(post(json.dumps({"rows": [row(i)]}).encode(), "/models/flights/predict"), key)
        return int(json.loads(body)["version"])

    async def _v2(self, i: int, key: str) -> int:
        body = await self._send(post(open_inference.body(open_inference.request(row(i))), _V2_PATH), key)
        return int(json.loads(body)["model_version"])

    async def _binary(self, i: int, key: str) -> int:
        binary, json_bytes = open_inference.binary(row(i))
        head = b"inference-header-content-length: %d\r\n" % json_bytes
        request = post(binary, _V2_PATH, "application/octet-stream").replace(b"\r\n", b"\r\n" + head, 1)
        body = await self._send(request, key)
        return int(body.partition(b'"model_version":"')[2].partition(b'"')[0])

    async def _grpc(self, i: int, key: str) -> int:
        metadata = ((KEY.decode(), key),) if key else ()
        answer = await self._methods[i % len(self._methods)](message(row(i)), metadata=metadata, timeout=30)
        return int(answer.model_version)

    async def _arrow(self, i: int, key: str) -> int:
        given = row(i)
        table = pa.Table.from_pylist([{**given, "departs": parse_timestamp(given["departs"])}])
        at = table.schema.get_field_index("departs")
        table = table.set_column(at, "departs", table["departs"].cast(pa.timestamp("us", "UTC")))
        out = io.BytesIO()
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        body = await self._send(post(out.getvalue(), "/models/flights/predict", MEDIA_TYPE), key)
        return int(pa.ipc.open_stream(body).schema.metadata[b"rowcast.version"])
