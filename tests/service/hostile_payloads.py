"""Bodies a caller might send to break the service, and the code each must get. The list only grows.

They are for the model of ``tests/support/handmade.py``.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

ROW: dict[str, Any] = {
    "distance": 872.0,
    "stops": 1,
    "night": False,
    "carrier": "UA",
    "departs": "2013-07-01T00:00:00Z",
}
GOOD = json.dumps({"rows": [ROW]}).encode()


class Payload(NamedTuple):
    name: str
    body: bytes
    path: str | None
    """Where the first fault is; None when the answer is no list of faults."""
    status: int = 400


def with_value(column: str, literal: str) -> bytes:
    """A body of two rows whose second holds ``literal`` as it stands."""
    row = ",".join(f'"{name}":{literal if name == column else json.dumps(value)}' for name, value in ROW.items())
    return f'{{"rows":[{json.dumps(ROW)},{{{row}}}]}}'.encode()


def without(*columns: str) -> bytes:
    return json.dumps({"rows": [{name: value for name, value in ROW.items() if name not in columns}]}).encode()


def rows(*content: Any) -> bytes:
    return json.dumps({"rows": content}).encode()


PAYLOADS = [
    Payload("1 truncated", GOOD[:-3], ""),
    Payload("1 truncated in a string", GOOD[:80], ""),
    Payload("1 trailing garbage", GOOD + b"x", ""),
    Payload("1 two documents", GOOD + GOOD, ""),
    Payload("1 trailing comma", b'{"rows":[],}', ""),
    Payload("1 single quotes", GOOD.replace(b'"', b"'"), ""),
    Payload("1 comment", GOOD + b"// no", ""),
    Payload("1 control character in a string", with_value("carrier", '"a\nb"'), ""),
    Payload("1 leading zero", with_value("distance", "01"), ""),
    Payload("1 plus sign", with_value("distance", "+1"), ""),
    Payload("2 empty", b"", ""),
    Payload("2 blanks", b"  \n ", ""),
    Payload("2 null", b"null", ""),
    Payload("2 number", b"3", ""),
    Payload("2 string", b'"rows"', ""),
    Payload("2 true", b"true", ""),
    Payload("2 array", b"[]", ""),
    Payload("2 array of rows", json.dumps([ROW]).encode(), ""),
    Payload("2 empty object", b"{}", "rows"),
    Payload("3 string for a number", with_value("distance", '"far"'), "rows[1].distance"),
    Payload("3 object for a number", with_value("distance", "{}"), "rows[1].distance"),
    Payload("3 list for a number", with_value("distance", "[872.0]"), "rows[1].distance"),
    Payload("3 fraction for a whole number", with_value("stops", "3.5"), "rows[1].stops"),
    Payload("3 tiny fraction for a whole number", with_value("stops", "1e-300"), "rows[1].stops"),
    Payload("3 number for a category", with_value("carrier", "3"), "rows[1].carrier"),
    Payload("3 true for a category", with_value("carrier", "true"), "rows[1].carrier"),
    Payload("3 number for a boolean", with_value("night", "1"), "rows[1].night"),
    Payload("3 string for a boolean", with_value("night", '"true"'), "rows[1].night"),
    Payload("3 number for a timestamp", with_value("departs", "1372636800"), "rows[1].departs"),
    Payload("3 text for a timestamp", with_value("departs", '"tomorrow"'), "rows[1].departs"),
    Payload("3 a day that does not exist", with_value("departs", '"2013-02-30"'), "rows[1].departs"),
    Payload("3 empty timestamp", with_value("departs", '""'), "rows[1].departs"),
    Payload("4 numeric string", with_value("distance", '"872"'), "rows[1].distance"),
    Payload("4 bool as a number", with_value("distance", "true"), "rows[1].distance"),
    Payload("4 bool as a whole number", with_value("stops", "false"), "rows[1].stops"),
    Payload("5 NaN", with_value("distance", "NaN"), "rows[1].distance"),
    Payload("5 Infinity", with_value("distance", "Infinity"), "rows[1].distance"),
    Payload("5 minus Infinity", with_value("stops", "-Infinity"), "rows[1].stops"),
    Payload("5 NaN as a category", with_value("carrier", "NaN"), "rows[1].carrier"),
    Payload("5 1e400", with_value("distance", "1e400"), "rows[1].distance"),
    Payload("5 -1e400 as a whole number", with_value("stops", "-1e400"), "rows[1].stops"),
    Payload("6 just beyond double", with_value("distance", "1.8e308"), "rows[1].distance"),
    Payload("7 5000-digit integer", with_value("distance", "1" * 5000), ""),
    Payload("7 1000-digit integer", with_value("distance", "1" * 1000), "rows[1].distance"),
    Payload("7 300-digit integer", with_value("stops", "1" * 300), "rows[1].stops"),
    Payload("8 2**53 + 1", with_value("stops", str(2**53 + 1)), "rows[1].stops"),
    Payload("8 -2**53 - 1 as a number", with_value("distance", str(-(2**53) - 1)), "rows[1].distance"),
    Payload("8 2**63 - 1", with_value("distance", str(2**63 - 1)), "rows[1].distance"),
    Payload("8 2**53 + 2, which a double holds", with_value("distance", str(2**53 + 2)), "rows[1].distance"),
    Payload("8 2**63", with_value("stops", str(2**63)), "rows[1].stops"),
    Payload("8 10**20", with_value("distance", str(10**20)), "rows[1].distance"),
    Payload("9 duplicate column", with_value("distance", '1,"distance":2'), "rows[1].distance"),
    Payload("9 duplicate column with an escape", with_value("distance", '1,"distanc\\u0065":2'), "rows[1].distance"),
    Payload("9 duplicate text column", with_value("carrier", '"UA","carrier":"AA"'), "rows[1].carrier"),
    Payload("9 duplicate null", with_value("night", 'null,"night":null'), "rows[1].night"),
    Payload("9 duplicate rows", GOOD[:-1] + b',"rows":[' + json.dumps(ROW).encode() + b"]}", "rows"),
    Payload("10 unknown column", rows({**ROW, "weather": "fine"}), "rows[0].weather"),
    Payload("10 the target", rows({**ROW, "late": "late"}), "rows[0].late"),
    Payload("10 unknown key beside rows", GOOD[:-1] + b',"id":1}', "id"),
    Payload("10 another case", rows({**ROW, "Distance": 1.0}), "rows[0].Distance"),
    Payload("10 empty name", rows({**ROW, "": 1.0}), "rows[0]."),
    Payload("11 missing", without("distance"), "rows[0].distance"),
    Payload("11 missing, several", without("stops", "carrier"), "rows[0].stops"),
    Payload("11 empty row", rows({}), "rows[0].distance"),
    Payload("12 invalid UTF-8 in a value", GOOD.replace(b"UA", b"\xff\xfe"), ""),
    Payload("12 invalid UTF-8 in a key", GOOD.replace(b"carrier", b"carri\xc3r"), ""),
    Payload("12 overlong UTF-8", GOOD.replace(b"UA", b"\xc0\xaf"), ""),
    Payload("12 lone high surrogate", with_value("carrier", '"\\ud800"'), ""),
    Payload("12 lone low surrogate", with_value("carrier", '"\\udc00x"'), ""),
    Payload("12 surrogate in UTF-8", GOOD.replace(b"UA", b"\xed\xa0\x80"), ""),
    Payload("12 two byte order marks", b"\xef\xbb\xbf" * 2 + GOOD, ""),
    Payload("12 byte order mark inside", GOOD.replace(b"[", b"[\xef\xbb\xbf", 1), ""),
    Payload("12 UTF-16", GOOD.decode().encode("utf-16"), ""),
    Payload("12 UTF-16 without mark", GOOD.decode().encode("utf-16-le"), ""),
    Payload("12 UTF-32", GOOD.decode().encode("utf-32"), ""),
    Payload("13 nesting 120 deep", b'{"rows":' + b"[" * 120 + b"]" * 120 + b"}", "rows[0]"),
    Payload("13 nesting 120 objects deep", with_value("carrier", '{"a":' * 120 + "1" + "}" * 120), "rows[1].carrier"),
    Payload("13 nesting 250,000 deep", b"[" * 250_000, ""),
    Payload("13 nesting 250,000 deep, closed", b'{"rows":' + b"[" * 250_000 + b"]" * 250_000 + b"}", ""),
    Payload("13 nesting 250,000 objects deep", b'{"rows":' * 250_000, "rows"),
    Payload("14 ragged rows", rows(ROW, [1, 2], [1]), "rows[1]"),
    Payload("14 a row that is a number", rows(ROW, 3), "rows[1]"),
    Payload("14 a row that is null", rows(None), "rows[0]"),
    Payload(
        "14 columns instead of rows", json.dumps({name: [value] for name, value in ROW.items()}).encode(), "distance"
    ),
    Payload("15 rows is one row", json.dumps({"rows": ROW}).encode(), "rows"),
    Payload("15 rows is a number", b'{"rows":1}', "rows"),
    Payload("15 rows is null", b'{"rows":null}', "rows"),
    Payload("15 rows is a list of numbers", rows(1, 2, 3), "rows[0]"),
    Payload("15 no rows", b'{"rows":[]}', "rows"),
    Payload("16 a string among numbers", rows(ROW, ROW, {**ROW, "distance": "12abc"}, ROW), "rows[2].distance"),
    Payload("many rows", rows(*[ROW] * 4097), None, 413),
    Payload("millions of empty rows", b'{"rows":[' + b"{}," * 3_000_000 + b"{}]}", None, 413),
    Payload("millions of short rows", b'{"rows":[' + b'{"a":1},' * 2_000_000 + b'{"a":1}]}', None, 413),
    Payload("millions of numbers", b'{"rows":[' + b"1," * 4_000_000 + b"1]}", "rows"),
    Payload("a row of 300,000 columns", rows({str(i): 1 for i in range(300_000)}), "rows"),
    Payload("megabytes of quotes", b'{"rows":["' + b'\\"' * 4_000_000, ""),
]
"""Refused. The number is the case of the list of what the service must withstand."""

ACCEPTED = {
    "24 unseen category": with_value("carrier", '"ZZ"'),
    "24 empty category": with_value("carrier", '""'),
    "24 a level of 1 MB": with_value("carrier", json.dumps("," * 1_000_000)),
    "24 NUL in a category": with_value("carrier", '"AA\\u0000"'),
    "null everywhere": rows(dict.fromkeys(ROW)),
    "nullable columns left out": without("night", "departs"),
    "escaped keys and values": GOOD.replace(b"distance", b"d\\u0069stance").replace(b"UA", b"\\u0055A"),
    "an astral character": with_value("carrier", '"\\ud83d\\ude00"'),
    "a whole number as a decimal": with_value("stops", "3.0"),
    "a whole number in powers": with_value("stops", "1e38"),
    "2**53": with_value("stops", str(2**53)),
    "-2**53": with_value("distance", str(-(2**53))),
    "1e20": with_value("distance", "1e20"),
    "the largest double": with_value("distance", "1.7976931348623157e308"),
    "minus zero": with_value("distance", "-0"),
    "underflow": with_value("distance", "1e-400"),
    "year 1": with_value("departs", '"0001-01-01"'),
    "year 9999": with_value("departs", '"9999-12-31T23:59:59.999999Z"'),
    "blanks around": b" \r\n\t" + GOOD + b" \n",
    "as many rows as there may be": rows(*[ROW] * 4096),
}
"""Unusual, and answered."""
