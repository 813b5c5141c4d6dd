"""The types of columns, and the schema that says which a stream holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from rowcast.models.arrow.flatbuffer import Malformed, Scalar, Table, Value

_MAX_SCALE = 128
_FIELD_BYTES = 24
"""What a field takes of its message at least beside its name: its place among the fields, a table of three fields, and
the length of the name. Tables of layouts and types may well be shared."""

Family: TypeAlias = Literal["null", "boolean", "integer", "float", "decimal", "text", "timestamp", "duration"]


class Type(NamedTuple):
    """The type of a column."""

    family: Family
    layout: str
    """How it lies in the buffers: ``none``, ``bits``, ``fixed``, ``offsets`` or ``views``."""
    dtype: str = ""
    """NumPy's name for the elements, or for the offsets of texts."""
    scale: int = 0
    """Of a decimal: digits after the point; of a moment and a duration: its units in a second."""


class Kind(NamedTuple):
    """A type that is written: its number in the format, and the fields of its table."""

    number: int
    details: Mapping[int, Value]


NULL = Kind(1, {})
INT64 = Kind(2, {0: Scalar("i", 64), 1: Scalar("?", 1)})
FLOAT32 = Kind(3, {0: Scalar("h", 1)})
FLOAT64 = Kind(3, {0: Scalar("h", 2)})
UTF8 = Kind(5, {})
BOOL = Kind(6, {})
MICROS = Kind(10, {0: Scalar("h", 2), 1: "UTC"})
"""Microseconds since the epoch, in UTC."""
DURATION = Kind(18, {0: Scalar("h", 2)})
"""Microseconds."""


class Field(NamedTuple):
    """A column of a stream."""

    name: str
    type: Type | None
    """None: one that is not read."""
    came: str
    """The type in words."""
    dictionary: int | None = None
    """Where its values are kept, when what it holds are places in there."""
    place: str = ""
    """NumPy's name for such a place."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What every record batch of a stream holds."""

    fields: list[Field]
    """At most as many as were asked for."""
    n_fields: int
    """How many there are."""


def read_schema(header: Table, max_fields: int, max_name: int, size: int) -> Schema:
    """The schema that a message's header says.

    Args:
        header: of the message.
        max_fields: that are read; where there are more, the rest is only counted.
        max_name: bytes that the name of a field may have.
        size: bytes of the message. Fields that share their bytes with others would take more than it has.

    Raises:
        Malformed: it says none, or one that is not read.
    """
    if header.number(0, "h") != 0:
        raise Malformed("numbers must be little-endian")
    fields: list[Field] = []
    for table in header.tables(1, max_fields):
        field = _read_field(table, max_name)
        size -= _FIELD_BYTES + len(field.name)
        if size < 0:
            raise Malformed("the columns of a schema must not share their bytes")
        fields.append(field)
    return Schema(fields, header.length(1))


def _read_field(field: Table, max_name: int) -> Field:
    name, number, details = field.text(0, max_name), field.number(2, "B"), field.table(3)
    type_, came = _read_type(number, details)
    encoding = field.table(4)
    if encoding is None or type_ is None:
        return Field(name, type_, came)
    index = encoding.table(1)
    index_type = Type("integer", "fixed", "<i4") if index is None else _read_type(2, index)[0]
    if index_type is None:
        raise Malformed("a dictionary's places are whole numbers of 8, 16, 32 or 64 bits")
    return Field(name, type_, came, encoding.number(0, "q"), index_type.dtype)


def _read_type(number: int, details: Table | None) -> tuple[Type | None, str]:
    """A type, and what it is in words."""
    if details is None:
        raise Malformed("a column has no type")
    if number == 1:
        return Type("null", "none"), "nulls"
    if number == 2 and (bits := details.number(0, "i")) in (8, 16, 32, 64):
        return Type("integer", "fixed", f"<{'i' if details.number(1, '?') else 'u'}{bits // 8}"), "integers"
    if number == 3 and (precision := details.number(0, "h")) in (0, 1, 2):
        return Type("float", "fixed", f"<f{2 << precision}"), "floats"
    if number == 7 and (dtype := _DECIMALS.get(details.number(2, "i", 128))) is not None:
        scale = details.number(1, "i")
        if abs(scale) > _MAX_SCALE:
            raise Malformed(f"a decimal has at most {_MAX_SCALE} digits after the point")
        return Type("decimal", "fixed", dtype, scale), "decimals"
    if number == 8:
        days = details.number(0, "h", 1) == 0
        return Type("timestamp", "fixed", "<i4" if days else "<i8", 0 if days else 1000), "dates"
    if number == 10 and (unit := details.number(0, "h")) in (0, 1, 2, 3):
        return Type("timestamp", "fixed", "<i8", 1000**unit), "timestamps"
    if number == 18 and (unit := details.number(0, "h", 1)) in (0, 1, 2, 3):
        return Type("duration", "fixed", "<i8", 1000**unit), "durations"
    if number in _PLAIN:
        return _PLAIN[number]
    return None, _OTHERS.get(number, "another type")


_DECIMALS = {32: "<i4", 64: "<i8", 128: "V16", 256: "V32"}
_PLAIN: dict[int, tuple[Type, str]] = {
    5: (Type("text", "offsets", "<i4"), "text"),
    6: (Type("boolean", "bits"), "booleans"),
    20: (Type("text", "offsets", "<i8"), "text"),
    24: (Type("text", "views"), "text"),
}
_OTHERS = {
    **dict.fromkeys((4, 15, 19, 23), "bytes"),
    **dict.fromkeys((12, 16, 21, 25, 26), "lists"),
    **dict.fromkeys((13, 17), "structs"),
    **dict.fromkeys((9, 11, 18), "times or intervals"),
}
