"""How much a teacher counts, and which rows it is asked about."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from rowcast.models.errors import ConfigError
from rowcast.training.settings import ComponentConfig

MOST_WEIGHTS = 8


class DistilConfig(ComponentConfig):
    """What is learned from a teacher, which --teacher names, or teacher= in Python."""

    weight: float | tuple[float, ...] = (0.5, 1.0)
    """Share of the teacher's answer in what a row is to be answered with, more than 0 and at most 1; the row's own
    target has the rest. Of a list, a fit with each is tried on the validation rows."""
    made_up: float = Field(1.0, ge=0.0, le=10.0)
    """Made-up rows for each training row, which the teacher alone answers: one more fit, with the best weight, tries
    whether they help on the validation rows. 0: none."""
    swap: float = Field(0.1, gt=0.0, le=1.0)
    """Share of the values of a made-up row that are taken from other training rows, column by column."""
    folds: int = Field(5, ge=2, le=20)
    """Of boosted trees that are fitted as teachers: a training row is answered by trees that have not seen it."""
    key: str = ""
    """Column of the table and of a file of predictions that says which row is which. Empty: the only one that both
    hold; without any, the column row, numbered from 1, or the order of the rows."""

    @field_validator("weight", mode="wrap")
    @classmethod
    def _is_one_or_a_list(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValidationError:
            raise ValueError("must be a number more than 0 and at most 1, or a list of such numbers") from None

    @field_validator("weight")
    @classmethod
    def _are_shares(cls, value: Any) -> Any:
        weights = value if isinstance(value, tuple) else (value,)
        if not all(0.0 < weight <= 1.0 for weight in weights):
            raise ValueError("must be more than 0 and at most 1")
        if not 1 <= len(weights) <= MOST_WEIGHTS or len(set(weights)) < len(weights):
            raise ValueError(f"must be 1 to {MOST_WEIGHTS} weights, each another one")
        return value

    @property
    def weights(self) -> tuple[float, ...]:
        """Those that are tried."""
        return self.weight if isinstance(self.weight, tuple) else (self.weight,)

    def check_unused(self) -> None:
        """Make sure that nothing is asked for without a teacher.

        Raises:
            ConfigError: something is; names the field.
        """
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value != field.default:
                raise ConfigError(
                    f"'distil.{name}' is for a fit with a teacher, got {value!r} without one: leave it out, or name "
                    "the teacher with --teacher"
                )
