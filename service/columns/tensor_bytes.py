"""Open Inference tensors as raw little-endian bytes: of the binary extension over HTTP, and of gRPC."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"INT{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
"""NumPy's type for each datatype of a fixed size."""
DATATYPES = (*DTYPES, "BYTES")
_DATATYPE_OF = {np.dtype(object): "BYTES", np.dtype(np.int64): "INT64", np.dtype(np.float64): "FP64"}

_LENGTH = struct.Struct("<I")
_FEW = 2**16
"""Bytes of which texts are made in a moment, even if it is in vain."""


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The datatype of a graph input."""
    return _DATATYPE_OF[dtype]


def may_hold(datatype: str, raw: bytes | memoryview, rows: int) -> bool:
    """Whether these bytes are enough for a tensor of so many rows; of BYTES, if every text is empty."""
    return rows * (_LENGTH.size if datatype == "BYTES" else DTYPES[datatype].itemsize) <= len(raw)


def from_raw(datatype: str, raw: bytes | memoryview, rows: int) -> NDArray[Any] | list[bytes]:
    """The values of a tensor of so many rows; of BYTES a list.

    Raises:
        ValueError: the bytes are not those of such a tensor; says what they should be.
    """
    if datatype == "BYTES":
        return _texts(bytes(raw), rows)
    dtype = DTYPES[datatype]
    size = rows * dtype.itemsize
    if len(raw) != size:
        raise ValueError(f"must take {size:,} bytes as {rows:,} of {datatype} do, got {len(raw):,}")
    if datatype != "BOOL":
        return np.frombuffer(raw, dtype)
    flags = np.frombuffer(raw, np.uint8)
    if np.count_nonzero(flags > 1):
        raise ValueError("must be bytes of 0 and 1, as BOOL is")
    return flags.view(np.bool_)


def _texts(raw: bytes, rows: int) -> list[bytes]:
    at, end, size = 0, len(raw), _LENGTH.size
    if end > _FEW and rows * size > end:  # of fewer it is told what is wrong first
        raise ValueError(f"must hold {rows:,} texts, which take {rows * size:,} bytes at least, got {end:,} bytes")
    texts: list[bytes] = []
    length_at = _LENGTH.unpack_from
    while at < end and len(texts) < rows:
        if at + size > end:
            raise ValueError(f"must hold 4 bytes of length before each text, got {end - at} at the end")
        (length,) = length_at(raw, at)
        at += size
        if length > end - at:
            raise ValueError(f"has a text said to take {length:,} bytes where {end - at:,} are left")
        texts.append(raw[at : at + length])
        at += length
    if len(texts) < rows or at < end:
        came = f"{len(texts):,} take {at:,} of {end:,} bytes"
        raise ValueError(f"must hold {rows:,} texts and nothing else, got {came}")
    return texts


def array_to_raw(values: NDArray[Any]) -> bytes:
    """The bytes of numbers."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


class TextsToRaw:
    """Gives the bytes of texts that are known beforehand, which is quicker than to make them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._raw = {text: _LENGTH.pack(len(text.encode())) + text.encode() for text in texts}

    def __call__(self, texts: list[str]) -> bytes:
        return b"".join(map(self._raw.__getitem__, texts))
