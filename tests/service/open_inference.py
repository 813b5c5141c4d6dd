"""Open Inference requests for the model of ``tests/support/handmade.py``, as clients make them."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from tests.service.hostile_payloads import ROW

PATH = "/v2/models/flights/infer"
DATATYPES = {"distance": "FP64", "stops": "FP64", "night": "FP64", "carrier": "BYTES", "departs": "BYTES"}


def request(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The request of some rows as JSON says it, booleans as 1 and 0; ``more`` are further keys of it."""
    inputs = []
    for name, datatype in DATATYPES.items():
        values = [row.get(name) for row in rows]
        data = [float(value) if isinstance(value, bool) else value for value in values]
        inputs.append({"name": name, "shape": [len(rows), 1], "datatype": datatype, "data": data})
    return {"inputs": inputs, **more}


def good() -> dict[str, Any]:
    """A new good request of two rows."""
    return request(ROW, ROW)


def body(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def with_input(name: str, /, **changes: Any) -> dict[str, Any]:
    """A good request of two rows in one of whose inputs some keys hold something else, or nothing where it is None."""
    content = good()
    (entry,) = (entry for entry in content["inputs"] if entry["name"] == name)
    entry.update(changes)
    for key in [key for key, value in changes.items() if value is None]:
        del entry[key]
    return content


def raw_texts(*texts: str | bytes) -> bytes:
    texts_in_bytes = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts_in_bytes)


def binary(*rows: dict[str, Any], **more: Any) -> tuple[bytes, int]:
    """The request of some rows, none of whose values is null, in raw bytes: the body, and how much of it is JSON."""
    content, raw = request(*rows, **more), []
    for entry in content["inputs"]:
        data = entry.pop("data")
        raw.append(raw_texts(*data) if entry["datatype"] == "BYTES" else np.array(data, "<f8").tobytes())
        entry["parameters"] = {"binary_data_size": len(raw[-1])}
    text = body(content)
    return text + b"".join(raw), len(text)
