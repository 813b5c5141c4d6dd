"""Known forms of Open Inference requests: a body that a reader has learned, and what it is held against."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from rowcast.models.errors import RequestError
from rowcast.models.signature import Signature
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.protocols.v2.reading import InferReader
from rowcast.service.protocols.v2.request import InferRequest, RequestReader
from tests.abuse.mutations import MAX_ROWS, SIGNATURE
from tests.service.hostile_payloads import ROW
from tests.service.open_inference import binary, body, request
from tests.support import handmade


class LongWay:
    """What the short way is held against."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._request = RequestReader(signature, max_rows)
        self._columns = ColumnReader(signature, max_rows)

    def read(self, text: bytes, json_bytes: int | None = None) -> tuple[InferRequest, Columns]:
        asked = self._request.read(text, json_bytes)
        return asked, self._columns.read(asked.tensors)


LONG_WAYS = {signature.names: LongWay(signature, MAX_ROWS) for signature in (SIGNATURE, handmade.BINARY)}


class Barred:
    """Stands where the long way begins."""

    def steps(self, *_: Any) -> Any:
        raise AssertionError("the long way was taken")


def outcome(reader: InferReader | LongWay, text: bytes, json_bytes: int | None = None) -> Any:
    """What is made of a body, in values that can be compared."""
    try:
        asked, columns = reader.read(text, json_bytes)
    except RequestError as error:
        return error.status, str(error), error.faults
    blocks = [(block.dtype, block.shape, list(map(plain, block.ravel().tolist()))) for block in columns.blocks]
    return asked._replace(tensors=[]), len(columns), type(columns), blocks


def plain(value: Any) -> Any:
    """Told from all others: NaN is itself, and -0.0 another than 0.0."""
    return (type(value), repr(value))


def check(reader: InferReader, text: bytes, json_bytes: int | None = None, signature: Signature = SIGNATURE) -> Any:
    """What is made of a body by one that may know it, which is what the long way makes of it."""
    expected = outcome(LONG_WAYS[signature.names], text, json_bytes)
    assert outcome(reader, text, json_bytes) == expected
    return expected


def is_known(reader: InferReader, text: bytes, json_bytes: int | None = None) -> bool:
    """Whether a body is read without the long way."""
    long_way, reader._request = reader._request, Barred()  # type: ignore[assignment]
    try:
        reader.read(text, json_bytes)
    except AssertionError:
        return False
    finally:
        reader._request = long_way
    return True


def taught(*bodies: tuple[bytes, int | None], signature: Signature = SIGNATURE) -> InferReader:
    """A reader that has read some bodies, each as often as it takes to know it."""
    reader = InferReader(signature, MAX_ROWS)
    for text, json_bytes in bodies * 2:
        check(reader, text, json_bytes, signature)
    return reader


READER_OF = {"signature": handmade.BINARY}
GOOD = body(request(ROW, ROW))
NULLS = body(request({**ROW, "distance": None}, dict.fromkeys(ROW)))


def known_json() -> InferReader:
    reader = taught((GOOD, None), **READER_OF)
    assert is_known(reader, GOOD)
    return reader


def known_binary(**more: Any) -> InferReader:
    text, json_bytes = binary_of(ROW, ROW, **more)
    reader = taught((text, json_bytes), **READER_OF)
    assert is_known(reader, text, json_bytes)
    return reader


def binary_of(*rows: dict[str, Any], **more: Any) -> tuple[bytes, int]:
    """A request in raw bytes whose timestamps are numbers."""
    text, json_bytes = binary(*rows, **more)
    content = json.loads(text[:json_bytes])
    (at,) = (i for i, entry in enumerate(content["inputs"]) if entry["name"] == "departs")
    assert at == len(content["inputs"]) - 1
    entry = content["inputs"][at]
    raw = text[json_bytes : -entry["parameters"]["binary_data_size"]] + np.zeros(len(rows), "<i8").tobytes()
    entry.update(datatype="INT64", parameters={"binary_data_size": 8 * len(rows)})
    head = body(content)
    return head + raw, len(head)


def put(old: str, new: str, text: bytes = GOOD) -> bytes:
    assert text.count(old.encode()) >= 1
    return text.replace(old.encode(), new.encode(), 1)


def check_json(text: bytes) -> Any:
    return check(known_json(), text, **READER_OF)


DISTANCES, STOPS, CARRIERS = "[872.0, 872.0]", "[1, 1]", '["UA", "UA"]'
