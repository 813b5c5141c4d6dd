"""Requests in every protocol at a steady rate, each answer compared with what the version that it names answers."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import numpy as np
import pyarrow as pa

from proofs.client import Connection, post
from rowcast.models.arrow import MEDIA_TYPE
from rowcast.models.values import parse_timestamp
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from tests.service import open_inference
from tests.service.hostile_payloads import ROW
from tests.service.live.versions import late
from tests.service.rpc import message, outputs

Row: TypeAlias = dict[str, Any]
Ask: TypeAlias = Callable[[], Awaitable[tuple[int, list[float]]]]
"""Sends a request: the version that answers, and what it says of "late" for each row."""

SAME = 1e-6
"""How far a probability may lie from that of the version, which is worked out in doubles."""


def weight(version: int) -> float:
    """What a stop counts in a version: neighbours answer all rows with stops otherwise."""
    return 0.5 + version * 37 % 101 / 50


def rows(n: int) -> list[Row]:
    """Rows with one stop at least."""
    return [{**ROW, "stops": 1 + i % 3, "distance": 100.0 * (1 + i % 40)} for i in range(n)]


class Load:
    """Asks at a steady rate, each request when it is due, whatever becomes of the others.

    Args:
        port: of HTTP.
        grpc_port: of gRPC.
        rate: requests a second.
    """

    def __init__(self, port: int, grpc_port: int, rate: float) -> None:
        self._port = port
        self._rate = rate
        self._channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}", options=(("grpc.use_local_subchannel_pool", 1),))
            for _ in range(4)
        ]
        self._idle: deque[Connection] = deque()
        self.sent = 0
        self.seconds: list[float] = []
        """From when a request was due to its whole answer; of those since the last :meth:`forget`."""
        self.failed: list[str] = []
        self.versions: Counter[int] = Counter()
        """Answers by the version that they name."""
        self.last: dict[int, float] = {}
        """When a version answered last, on the clock of ``time.monotonic``; and in the next when first."""
        self.first: dict[int, float] = {}
        one, few, many, stream = rows(1), rows(3), rows(40), rows(600)
        self._kinds: list[tuple[str, Ask, list[Row]]] = [
            ("rows", self._http("/predict", _rows_body(one)), one),
            ("rows, several", self._http("/models/flights/predict", _rows_body(many)), many),
            ("V2 JSON", self._v2(open_inference.body(open_inference.request(*few))), few),
            ("V2 binary", self._v2(*open_inference.binary(*few)), few),
            ("gRPC", self._grpc(few), few),
            ("rows", self._http("/models/flights/predict", _rows_body(one)), one),
            ("Arrow", self._arrow(stream), stream),
        ]

    def forget(self) -> list[float]:
        """The times so far, in order; they are counted anew."""
        seconds, self.seconds = sorted(self.seconds), []
        return seconds

    async def run(self) -> None:
        """Ask until cancelled."""
        started = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                due = started + self.sent / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                task = asyncio.create_task(self._ask(*self._kinds[self.sent % len(self._kinds)], due))
                self.sent += 1
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        finally:
            await asyncio.gather(*under_way)
            while self._idle:
                self._idle.pop().close()
            for channel in self._channels:
                await channel.close()

    async def _ask(self, kind: str, ask: Ask, sent: list[Row], due: float) -> None:
        try:
            version, got = await ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, the request has failed
            self.failed.append(f"{kind}: {error!r}"[:300])
            return
        now = time.monotonic()
        self.seconds.append(now - due)
        self.versions[version] += 1
        self.first.setdefault(version, now)
        self.last[version] = now
        expected = [late(weight(version), row) for row in sent]
        if len(got) != len(expected) or not np.allclose(got, expected, rtol=0, atol=SAME):
            self.failed.append(f"{kind}: version {version} does not answer so: {got[:3]}, expected {expected[:3]}")

    async def _send(self, request: bytes) -> tuple[bytes, bytes]:
        connection = self._idle.popleft() if self._idle else Connection(self._port)
        status, head, body = await connection.ask(request)
        self._idle.append(connection)
        assert status == 200, f"{status}: {body[:200]!r}"
        return head, body

    def _http(self, path: str, body: bytes) -> Ask:
        async def ask() -> tuple[int, list[float]]:
            content = json.loads((await self._send(post(body, path)))[1])
            return content["version"], [one["probabilities"]["late"] for one in content["predictions"]]

        return ask

    def _v2(self, body: bytes, json_bytes: int | None = None) -> Ask:
        request = post(body, open_inference.PATH)
        if json_bytes is not None:
            length = b"inference-header-content-length: %d\r\n" % json_bytes
            octets = length + b"content-type: application/octet-stream"
            request = request.replace(b"content-type: application/json", octets, 1)

        async def ask() -> tuple[int, list[float]]:
            head, answer = await self._send(request)
            length = head.partition(b"inference-header-content-length: ")[2].partition(b"\r\n")[0]
            content = json.loads(answer[: int(length)] if length else answer)
            (output,) = (one for one in content["outputs"] if one["name"] == "probabilities")
            if "data" in output:
                numbers = output["data"]
            else:
                at = int(length)
                for one in content["outputs"]:
                    size = one["parameters"]["binary_data_size"]
                    if one["name"] == "probabilities":
                        numbers = np.frombuffer(answer[at : at + size], "<f4").tolist()
                    at += size
            return int(content["model_version"]), numbers[1::2]

        return ask

    def _arrow(self, sent: list[Row]) -> Ask:
        moments = [dict(row, departs=parse_timestamp(row["departs"])) for row in sent]
        schema = pa.schema(
            {
                "distance": pa.float64(),
                "stops": pa.int64(),
                "night": pa.bool_(),
                "carrier": pa.string(),
                "departs": pa.timestamp("us", "UTC"),
            }
        )
        table = pa.Table.from_pylist(moments, schema=schema)
        out = io.BytesIO()
        with pa.ipc.new_stream(out, schema) as writer:
            writer.write_table(table, max_chunksize=200)
        request = post(out.getvalue(), "/models/flights/predict", MEDIA_TYPE)

        async def ask() -> tuple[int, list[float]]:
            answer = pa.ipc.open_stream((await self._send(request))[1]).read_all()
            version = int(answer.schema.metadata[b"rowcast.version"])
            return version, [float(one) for one in answer["probability_late"].to_pylist()]

        return ask

    def _grpc(self, sent: list[Row]) -> Ask:
        asked = message(*sent)
        methods = [
            channel.unary_unary(
                f"/{SERVICE}/ModelInfer",
                request_serializer=REQUEST_CLASSES["ModelInfer"].SerializeToString,
                response_deserializer=RESPONSE_CLASSES["ModelInfer"].FromString,
            )
            for channel in self._channels
        ]

        async def ask() -> tuple[int, list[float]]:
            answer = await methods[self.sent % len(methods)](asked, timeout=30)
            return int(answer.model_version), [one[1] for one in outputs(answer)["probabilities"]]

        return ask


def _rows_body(sent: list[Row]) -> bytes:
    return json.dumps({"rows": sent}).encode()
