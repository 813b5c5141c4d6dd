"""What to read from a table, and how. Nothing here imports torch: a table can be looked at without it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from pydantic import Field, field_validator, model_validator

from rowcast.models.errors import ConfigError
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
    split: str = ""
    """Column that says train, validation or test (in any case; val and valid too) of each row; it is no input. Without
    validation rows there, they are taken from the training rows. Empty: none."""
    fold: str = ""
    """Column of the fold of each row, for cross-validation; a single fit holds whole folds out. It is no input. Empty:
    none."""
    weight: str = ""
    """Column of row weights, of at least 0: how much a row counts in the loss, in calibration and in metrics; it is no
    input. Empty: every row counts the same."""
    validation_share: float = Field(0.16, gt=0.0, lt=1.0)
    """Share of the table for validation rows: without them nothing would say when to stop."""
    test_share: float = Field(0.20, ge=0.0, lt=1.0)
    """Share of the table for test rows; 0 for none, and then there are no metrics of test rows."""
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
    """Columns whose texts are texts, never numbers or dates: levels as they are where most rows hold one that repeats,
    else read word by word; one of which no word repeats is still dropped."""
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
    in_memory: bool | Literal["auto"] = "auto"
    """Whether the table is read into memory. false: in shards, a piece at a time, with statistics off a sample of its
    rows. auto: in shards if it would take more than 0.7 of the memory that is free."""
    sample_rows: int = Field(200_000, ge=1_000)
    """Of a table in shards: training rows that statistics are read off, and validation and test rows that are measured,
    at most."""

    @field_validator("target", mode="before")
    @classmethod
    def _one_target(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            raise ConfigError(
                f"'data.target' must be the name of one column, got {list(value)!r}: a model predicts one target; "
                "train one for each, with the others left out by --drop"
            )
        return value

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> DataConfig:
        if self.test_share + self.validation_share >= 1.0:
            raise ConfigError(
                "'data.test_share' and 'data.validation_share' must together be less than 1, "
                f"got {self.test_share} and {self.validation_share}"
            )
        return self

    @property
    def roles(self) -> dict[str, str]:
        """Columns that say something about the rows and are no inputs, by the flag that names them; "" for none."""
        return {
            "--target": self.target,
            "--group": self.group,
            "--split": self.split,
            "--fold": self.fold,
            "--weight": self.weight,
        }

    @property
    def no_inputs(self) -> frozenset[str]:
        """The columns of :attr:`roles`."""
        return frozenset(self.roles.values()) - {""}

    @property
    def ways_to_split(self) -> dict[str, str]:
        """Columns that say how to split, by flag; a table is split in one way."""
        return {
            "--split-by-time": self.split_by_time,
            "--group": self.group,
            "--split": self.split,
            "--fold": self.fold,
        }

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
