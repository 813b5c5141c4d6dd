"""How columns become numbers: what can be chosen. No torch is imported here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rowcast.models.signature import PUBLIC_LEVEL_ROWS
from rowcast.training.columns.levels import LevelRows
from rowcast.training.columns.texts import WordLimits
from rowcast.training.features.calendar import CalendarPart
from rowcast.training.settings import ComponentConfig


class FeaturesConfig(ComponentConfig):
    """How columns become numbers."""

    numbers: Literal["bins", "standardise"] = "bins"
    """bins: how far a number has come through each of its quantile bins. standardise: a number at mean 0 and deviation
    1, and whether it is missing, where training rows miss any."""
    bins: int = Field(48, ge=2, le=256)
    """Quantile bins of a number at most; 48 as in TabM. Fewer when a table has very many numbers."""
    oblique_angles: int = Field(6, ge=0, le=32)
    """Directions along which numbers that belong together are also read; 0 for none."""
    oblique_correlation: float = Field(0.7, ge=0.0, le=1.0)
    """Absolute rank correlation from which two numbers may belong together."""
    oblique_pairs: int = Field(8, ge=0, le=1000)
    """Pairs that are read so at most, the closest ones: each costs as much as oblique_angles further columns."""
    min_level_rows: int = Field(PUBLIC_LEVEL_ROWS, ge=PUBLIC_LEVEL_ROWS)
    """A level in fewer training rows than this is treated like one never seen: there is little to learn from it, it
    teaches the network what to say to the unseen, and it could point at a person."""
    declared_level_rows: int = Field(PUBLIC_LEVEL_ROWS, ge=1)
    """The same for categories that are declared, by --category or by the type of a data frame's column; it may be as
    low as 1 where their levels are no secret: who asks the service can tell a known level from one never seen."""
    max_levels: int = Field(100_000, ge=1)
    """Levels of one column that the graph knows; the rarest beyond that are pooled, which bounds memory."""
    max_words: int = Field(2_000, ge=0, le=8_000)
    """Words that the graph knows of a column that is read word by word, the commonest; 0 reads none so."""
    calendar: tuple[CalendarPart, ...] = ("time_of_day", "weekday", "season", "trend")
    """What is read off a timestamp, each where the training rows span at least two of its periods. A table split by
    time goes without trend: the future lies outside every range that training saw."""

    @property
    def level_rows(self) -> LevelRows:
        """Training rows of a level that the model is to know, at least."""
        return LevelRows(self.min_level_rows, self.declared_level_rows)

    @property
    def word_limits(self) -> WordLimits:
        """Which words the model is to know of a text."""
        return WordLimits(self.min_level_rows, self.max_words)
