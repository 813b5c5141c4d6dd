"""What to read from a table, and how. Nothing here imports torch: a table can be looked at without it."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from rowcast.training.data.files.form import FileForm
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.settings import ComponentConfig


class DataConfig(ComponentConfig):
    """What to read from the table."""

    target: str = ""
    """The column to predict."""
    task: Literal["auto", "regression", "binary", "multiclass"] = "auto"
    """auto: text, true/false and whole numbers with at most 20 distinct values are classes, all else regression."""
    split_by_time: str = ""
    """Timestamp or number column: the latest rows are the test, those before them the validation rows.
    Empty: at random, with every class in its share."""
    group: str = ""
    """Column whose equal values stay on one side of the split, such as a customer; it is no input. Empty: none."""
    weight: str = ""
    """Column of row weights, of at least 0: how much a row counts in the loss, in calibration and in metrics; it is no
    input. Empty: every row counts the same."""
    validation_share: float = Field(0.16, gt=0.0, lt=1.0)
    """Share of the table for validation rows."""
    test_share: float = Field(0.20, gt=0.0, lt=1.0)
    """Share of the table for test rows."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""
    number: tuple[str, ...] = ()
    """Columns to take as numbers; a text that is none is refused."""
    date: tuple[str, ...] = ()
    """Columns to take as dates; COL=dmy, COL=mdy or COL=ymd also says what their numbers stand for."""
    boolean: tuple[str, ...] = ()
    """Columns to take as true or false."""
    category: tuple[str, ...] = ()
    """Columns to take as categories, whatever they hold."""
    text: tuple[str, ...] = ()
    """Columns whose texts are levels as they are, never numbers or dates; one of distinct texts is still dropped."""
    keep: tuple[str, ...] = ()
    """Columns never to drop as an identifier; what kind they are is decided as ever."""
    null: tuple[str, ...] = ()
    """Further texts that mean null."""
    sentinels: bool = True
    """Whether numbers and dates that stand for no value, such as -999 or 9999-12-31, are taken for missing where they
    lie far from all others; a decision names each."""
    no_sentinels: tuple[str, ...] = ()
    """Columns in which every number and date is taken as it is."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Old name to new name."""
    encoding: str = "utf-8"
    """Encoding of a text file."""
    separator: str = ""
    """What stands between two fields of delimited text: a character, or comma, semicolon, tab, pipe or space.
    Empty: found by looking at the first rows."""
    decimal: Literal["", ".", ","] = ""
    """What stands before the decimals of numbers in text. Empty: each column tells."""
    header: bool | Literal["auto"] = "auto"
    """Whether the first line of text or of a sheet holds the column names; false calls them column_1, column_2, ...
    auto: it does, and what looks like a row is refused."""
    sheet: str = ""
    """Sheet of a spreadsheet. Empty: the first that holds anything."""

    @property
    def no_inputs(self) -> frozenset[str]:
        """Columns that say something about the rows and are no inputs: the target, groups, weights."""
        return frozenset({self.target, self.group, self.weight} - {""})

    def form(self) -> FileForm:
        """What is said about how the table's file is written."""
        header = None if self.header == "auto" else self.header
        return FileForm(self.encoding, self.separator, header, self.sheet)


class TableConfig(Protocol):
    """As much of a run's config as says what is read from a table and which rows are training rows."""

    @property
    def data(self) -> DataConfig: ...

    @property
    def features(self) -> FeaturesConfig: ...

    @property
    def seed(self) -> int: ...
