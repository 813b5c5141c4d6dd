"""Files that must be refused: what is wrong with each, its bytes, and what the refusal has to say.

The list grows: whatever once was read wrongly, or refused unclearly, belongs here.
"""

from __future__ import annotations

from typing import NamedTuple


class Hostile(NamedTuple):
    """A file that is no table, or breaks a rule of tables."""

    name: str
    content: bytes
    fragments: tuple[str, ...]


def _rows(n: int, row: bytes = b"1,2\n") -> bytes:
    return b"a,b\n" + row * n


STRUCTURE = (
    Hostile("empty file", b"", ("is empty", "column names")),
    Hostile("only a byte order mark", b"\xef\xbb\xbf", ("is empty",)),
    Hostile("only blank lines", b"\n\n\r\n", ("is empty",)),
    Hostile("blank first line", b"\na,b\n1,2\n", ("the first line must hold the column names", "blank")),
    Hostile("header alone", b"a,b\n", ("has a header but no rows",)),
    Hostile("header alone, no line end", b"a,b", ("has a header but no rows",)),
    Hostile("header and blank lines", b"a,b\n\n\n", ("has a header but no rows",)),
    Hostile("header of numbers", b"5.1,3.5\n4.9,3.0\n", ("only numbers", "'5.1'", "add a line of names")),
    Hostile("row too short", b"a,b,c\n1,2,3\n4,5\n6,7,8\n", ("row 2 (line 3)", "2 fields", "header has 3", "'c'")),
    Hostile("row too long", b"a,b\n1,2\n3,4,5\n", ("row 2 (line 3)", "3 fields", "header has 2", "'b'", "quotes")),
    Hostile("row too short at the end", b"a,b\n1,2\n3", ("row 2 (line 3)", "1 field,")),
    Hostile("row too short, late", _rows(9000) + b"3\n" + b"4,5\n" * 9, ("row 9001 (line 9002)", "1 field,")),
    Hostile("separator at each line end", b"a,b\n1,2,\n3,4,\n", ("row 1 (line 2)", "3 fields")),
    Hostile("blank line among rows", b"a,b\n1,2\n\n3,4\n", ("row 2 (line 3)", "is blank", "take the line out")),
    Hostile("blank line with blanks", b"a,b\n1,2\n  \n3,4\n", ("row 2 (line 3)", "1 field,")),
    Hostile("short row after quoted newline", b'a,b\n"x\ny\nz",2\n3\n', ("row 2 (line 5)", "1 field,")),
    Hostile("short row with carriage returns", b"a,b\r1,2\r3\r", ("row 2 (line 3)", "1 field,")),
    Hostile("duplicate name", b"a,b,a\n1,2,3\n", ("'a'", "columns 1 and 3", "rename")),
    Hostile("empty name", b"a,,c\n1,2,3\n", ("column 2 of 3", "without one")),
    Hostile("empty name of no index", b",a,b\nx,1,2\nx,3,4\n", ("column 1 of 3",)),
    Hostile(
        "row in place of the names", b"5.1,3.5,setosa\n4.9,3.0,setosa\n", ("looks like a row", "data.header=false")
    ),
    Hostile("blank name", b'a," "\n1,2\n', ("column 2 of 2",)),
    Hostile("quote never closed", b'a,b\n1,"x\n2,y\n', ("row 1 (line 2)", "'b'", "closing quote")),
    Hostile("quote never closed, late", _rows(500) + b'7,"8\n', ("row 501 (line 502)", "'b'", "closing quote")),
    Hostile("quote swallows rows", b'a,b\n1,"x\n2,"y"\n', ("row 1 (line 2)", "'b'", "twice")),
    Hostile("text after a closing quote", b'a,b\n"x"y,2\n', ("row 1 (line 2)", "'a'", "twice")),
    Hostile("quote never closed in the header", b'a,"b\n1,2\n', ("the header (line 1)", "closing quote")),
    Hostile("NUL byte", b"a,b\n1,2\n3,\x004\n" + b"5,6\n" * 9, ("row 2 (line 3), field 2", "NUL byte")),
    Hostile("NUL byte in the header", b"a,b\x00\n" + b"1,2\n" * 9, ("the header (line 1), field 2", "NUL byte")),
)

ENCODING = (
    Hostile("UTF-16", "a,b\n1,2\n".encode("utf-16"), ("UTF-16", "--encoding utf-16")),
    Hostile("UTF-16, big end first", b"\xfe\xff" + "a,b\n1,2\n".encode("utf-16-be"), ("UTF-16", "--encoding utf-16")),
    Hostile("UTF-16 without mark", "a,b\n1,2\n".encode("utf-16-le"), ("UTF-16", "--encoding utf-16-le")),
    Hostile("UTF-16 without mark, big end", "a,b\n1,2\n".encode("utf-16-be"), ("UTF-16", "--encoding utf-16-be")),
    Hostile("UTF-32", "a,b\n1,2\n".encode("utf-32"), ("UTF-32", "--encoding utf-32")),
    Hostile(
        "Latin-1", "a,b\n1,x\n2,Köln\n".encode("latin-1"), ("row 2 (line 3), field 2", "0xf6", "--encoding latin-1")
    ),
    Hostile("Latin-1 in the header", "a,ö\n1,2\n".encode("latin-1"), ("the header (line 1), field 2", "0xf6")),
    Hostile("Latin-1 after a quoted newline", b'a,b\n"x\n,y",\xe9\n', ("row 1 (line 3), field 2", "0xe9")),
    Hostile("UTF-8 cut short", b"a,b\n1,\xe2\x82", ("row 1 (line 2), field 2", "0xe2")),
)


def _late(column: str, bad: str) -> bytes:
    """A table whose column ``x`` holds ``column`` in 99 rows and ``bad`` in row 77."""
    values = [column] * 99
    values.insert(76, bad)
    return ("k,x\n" + "".join(f"{i % 7}.5,{value}\n" for i, value in enumerate(values))).encode()


VALUES = (
    Hostile(
        "word among numbers", _late("1.5", "abc"), ("'x'", "'abc'", "row 77 (line 78)", "--category x", "--null 'abc'")
    ),
    Hostile("word among whole numbers", _late("15", "far"), ("'far'", "row 77 (line 78)", "--null 'far'")),
    Hostile("decimal comma, once", _late("3.5", '"3,14"'), ("'3,14'", "row 77 (line 78)", "3,14 as 3.14")),
    Hostile("inf", _late("1.5", "inf"), ("'inf'", "row 77 (line 78)", "finite", "--null 'inf'")),
    Hostile("-Infinity", _late("1.5", "-Infinity"), ("'-Infinity'", "row 77 (line 78)", "finite")),
    Hostile("beyond double", _late("1.5", "1e400"), ("'1e400'", "row 77 (line 78)", "that a double can hold")),
    Hostile("hexadecimal", _late("15", "0x1F"), ("'0x1F'", "row 77 (line 78)")),
    Hostile("underscore", _late("15", "1_000"), ("'1_000'", "row 77 (line 78)")),
    Hostile("digits of another script", _late("15", "١٢"), ("'١٢'", "row 77 (line 78)")),
    Hostile("word among booleans", _late("true", "yes"), ("'yes'", "row 77 (line 78)", "true or false")),
    Hostile(
        "word among dates", _late("2013-07-01", "soon"), ("'soon'", "row 77 (line 78)", "ISO 8601", "--null 'soon'")
    ),
    Hostile("day that does not exist", _late("2013-07-01", "2013-02-30"), ("'2013-02-30'", "row 77 (line 78)")),
    Hostile(
        "two forms of date",
        b"x\n2013-07-01\n07/02/2013\n07/03/2013\n",
        ("'07/02/2013'", "row 2 (line 3)", "--date 'x=dmy'"),
    ),
    Hostile("zone that does not exist", _late("2013-07-01T00:00Z", "2013-07-01T00:00+99:00"), ("row 77 (line 78)",)),
)
