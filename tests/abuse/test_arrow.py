"""Arrow streams that should not be: each is refused in words, at once, and in little memory."""

from __future__ import annotations

import io
import json
import struct
from typing import NamedTuple

import psutil
import pyarrow as pa
import pytest

from rowcast.models.arrow import END, MEDIA_TYPE
from rowcast.models.arrow.stream import CONTINUES
from rowcast.models.arrow.types import INT64, NULL
from rowcast.models.arrow.writer import batch, nothing, schema
from tests.abuse.conftest import MAX_BODY
from tests.abuse.exchange import check_refusal, request, say
from tests.abuse.test_fuzz_arrow import COLUMNS, N, written
from tests.service.hostile_payloads import ROW
from tests.service.servers import Server

GOOD = written(COLUMNS)
CANNOT = "the body is no Arrow stream that can be read: "


def compressed(rows: int) -> bytes:
    """Zeros that take next to nothing until they are unpacked."""
    zeros = pa.Array.from_buffers(pa.float64(), rows, [None, pa.py_buffer(bytes(8 * rows))])
    table = pa.table({name: zeros if name == "distance" else pa.nulls(rows) for name in ROW})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return out.getvalue()


def one_text_many_times(rows: int, size: int, *, in_dictionary: bool) -> bytes:
    """Rows that all point at one long text."""
    text = b"a" * size
    if in_dictionary:
        places = pa.array([0] * rows, pa.int16())
        carrier = pa.DictionaryArray.from_arrays(places, pa.array([text.decode()]))
    else:
        views = struct.pack("<i4sii", size, text[:4], 0, 0) * rows
        buffers = [None, pa.py_buffer(views), pa.py_buffer(text)]
        carrier = pa.Array.from_buffers(pa.string_view(), rows, buffers)
    return written({name: carrier if name == "carrier" else pa.nulls(rows) for name in ROW}, rows)


def claiming(size: int) -> bytes:
    """A message whose head claims a size."""
    return CONTINUES + struct.pack("<i", size) + bytes(64)


class Case(NamedTuple):
    """A stream, and how it is answered."""

    name: str
    body: bytes
    words: str
    status: int = 400


NULLS = b"".join([schema([(name, NULL) for name in ROW]), *batch(2**62, [nothing(2**62)] * len(ROW)), END])
FOREIGN = schema([(f"x{i}", INT64) for i in range(20_000)]) + END
REPEATED = "columns.carrier: a text column holds the same long texts again and again"
CASES = [
    Case("nothing", b"", CANNOT + "the stream is cut off"),
    Case("JSON", json.dumps({"rows": [ROW]}).encode(), CANNOT + "the stream is cut off"),
    Case("cut off in the schema", GOOD[:100], CANNOT + "the stream is cut off"),
    Case("cut off in a batch", GOOD[:-200], CANNOT + "the stream is cut off"),
    Case("cut off before its end", GOOD[: -len(END)], CANNOT + "the stream is cut off"),
    Case("more behind the end", GOOD + b"\0", CANNOT + "there are bytes behind the end of the stream"),
    Case("two streams", GOOD + GOOD, CANNOT + "there are bytes behind the end of the stream"),
    Case("a message of 2 GiB", claiming(2**31 - 1), CANNOT + "the stream is cut off"),
    Case("a message of less than nothing", claiming(-8), CANNOT + "the stream is cut off"),
    Case("a schema of zeros", claiming(64), CANNOT + "a "),
    Case("no schema", END, CANNOT + "a stream begins with a schema"),
    Case("only a batch", b"".join([*batch(1, []), END]), CANNOT + "a stream begins with a schema"),
    Case("zstd bomb", compressed(2**22), CANNOT + "buffers must not be compressed"),
    Case("rows without bytes", NULLS, "a stream holds at most 131,072 rows", 413),
    Case("one view, many times", one_text_many_times(2000, 2**19, in_dictionary=False), REPEATED),
    Case("one level, many times", one_text_many_times(2000, 2**19, in_dictionary=True), REPEATED),
    Case("20,000 columns", FOREIGN, 'columns.x0: "x0" is not a column'),
    Case("body over the limit", GOOD + bytes(MAX_BODY), "a body holds at most 2,097,152 bytes", 413),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_hostile_stream_is_refused(service: Server, worker: psutil.Process, case: Case) -> None:
    before = worker.memory_info().rss
    answer = say(service, request(case.body, content_type=MEDIA_TYPE))
    check_refusal(answer, case.status)
    assert json.loads(answer.body)["error"].startswith(case.words), answer.body
    assert worker.memory_info().rss - before < 64 * 2**20


def test_a_good_stream_is_answered(service: Server) -> None:
    answer = say(service, request(GOOD, content_type=MEDIA_TYPE))
    assert (answer.status, answer.headers["content-type"]) == (200, MEDIA_TYPE)
    assert pa.ipc.open_stream(answer.body).read_all().num_rows == N
