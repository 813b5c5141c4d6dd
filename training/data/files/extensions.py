"""What a file is by its name: which kind of table, and how it is packed."""

from __future__ import annotations

from pathlib import Path, PurePath

from rowcast.training.data.files import spreadsheet
from rowcast.training.data.files.packed import PACKED

SEPARATORS = {".csv": ",", ".txt": ",", ".data": ",", ".tsv": "\t", ".tab": "\t"}
"""Extensions of delimited text, and what mostly stands between two fields there."""
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc", ".arrows")
EXTENSIONS = (*SEPARATORS, *JSON_LINES, ".json", *PARQUET, *ARROW, *spreadsheet.EXTENSIONS)

_ABOUT = frozenset(
    (
        *("readme", "license", "licence", "copying", "notice", "changelog", "authors", "citation", "contributing"),
        *("checksums", "sha256sums", "md5sums"),
    )
)
"""Names of texts about a table, which are none whatever their extension says."""


def kind_of(name: str) -> tuple[str, str]:
    """The extension of a file name that says what table it is, and the one behind it that says how it is packed."""
    path = Path(name.lower())
    packed = path.suffix if path.suffix in PACKED else ""
    return Path(path.stem).suffix if packed else path.suffix, packed


def is_table(name: str) -> bool:
    """Whether a file that stands beside others is a table by its name, rather than a text about them or a picture."""
    extension, packed = kind_of(name)
    stem = PurePath(name.lower()).name.partition(".")[0]
    return (extension in EXTENSIONS or packed == ".zip") and stem not in _ABOUT


def tables_among(names: list[str]) -> list[str]:
    """The tables among files that stand together; all of them where none is one, so that an error can name it."""
    return [name for name in names if is_table(name)] or names
