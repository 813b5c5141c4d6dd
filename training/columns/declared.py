"""What a person says about single columns: of which kind they are, and which are never to be dropped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from rowcast.models.errors import ConfigError
from rowcast.models.texts.dates import DateOrder
from rowcast.training.data.table import Table

if TYPE_CHECKING:
    from rowcast.training.data.config import DataConfig

DeclaredKind: TypeAlias = Literal["number", "date", "boolean", "category", "text"]
KINDS: tuple[DeclaredKind, ...] = ("number", "date", "boolean", "category", "text")
_ORDERS = ("dmy", "mdy", "ymd")


@dataclass(frozen=True)
class Declared:
    """Kinds by column, the order of a date's numbers where it was given, and the columns to keep."""

    kinds: Mapping[str, DeclaredKind] = field(default_factory=dict)
    orders: Mapping[str, DateOrder] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    decimal: str = ""
    """What stands before the decimals of numbers in text; empty: each column tells."""

    @classmethod
    def of(cls, data: DataConfig, table: Table) -> Declared:
        """What the config says of the columns of a table.

        Raises:
            TableError: a column is named that the table lacks.
            ConfigError: a column is declared to be of two kinds.
        """
        kinds: dict[str, DeclaredKind] = {}
        orders: dict[str, DateOrder] = {}
        for kind in KINDS:
            for text in getattr(data, kind):
                name, order = _date(text, table.names) if kind == "date" else (text, None)
                if name in data.drop:
                    raise _dropped(name, f"--{kind}")
                table.require(name, f"--{kind} names")
                if kinds.setdefault(name, kind) != kind:
                    raise ConfigError(
                        f"a column is of one kind, got {name!r} in --{kinds[name]} and in --{kind}: take it out of one"
                    )
                if order is not None:
                    orders[name] = order
        for name in data.keep:
            if name in data.drop:
                raise _dropped(name, "--keep")
            table.require(name, "--keep names")
        return cls(kinds, orders, frozenset(data.keep), data.decimal)

    def within(self, names: Iterable[str]) -> Declared:
        """What is said of these columns alone."""
        held = set(names)
        return Declared(
            {name: kind for name, kind in self.kinds.items() if name in held},
            {name: order for name, order in self.orders.items() if name in held},
            self.keep & held,
            self.decimal,
        )

    def is_kept(self, name: str) -> bool:
        """Whether a column is an input though it looks like an identifier."""
        return name in self.keep or self.kinds.get(name, "text") != "text"


NOTHING_DECLARED = Declared()


def _date(text: str, names: Collection[str]) -> tuple[str, DateOrder | None]:
    """``at=dmy`` is the column ``at`` and its order, unless a column bears that very name."""
    name, separator, order = text.rpartition("=")
    if text in names or not separator:
        return text, None
    if order not in _ORDERS:
        raise ConfigError(f"--date takes a column, or a column=dmy, =mdy or =ymd, got {text!r}")
    return name, cast("DateOrder", order)


def _dropped(name: str, flag: str) -> ConfigError:
    """The refusal of a column that two flags contradict each other about."""
    return ConfigError(f"a column is left out or used, got {name!r} in --drop and in {flag}: take it out of one")
