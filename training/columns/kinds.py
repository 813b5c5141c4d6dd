"""The kind of a column, by its type, or by its texts and how they are read: what all of its training rows agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import TableError
from rowcast.models.kinds import KINDS, Kind
from rowcast.models.reading import NumberForm, Reading
from rowcast.models.texts import MARKERS
from rowcast.models.texts.columns import text_value
from rowcast.models.texts.dates import EPOCH_WORDS, DateOrder
from rowcast.models.texts.numbers import BLANKS
from rowcast.models.values import EXACT_WHOLE
from rowcast.training.columns.declared import DeclaredKind
from rowcast.training.columns.reading import (
    NOT_FINITE,
    NULL_SPELLINGS,
    PLAIN,
    digits_in,
    is_whole_text,
    misfit,
    parse_numbers,
)
from rowcast.training.columns.timestamps import parse_timestamps
from rowcast.training.columns.written.clocks import durations_of, in_one_form, looks_like_clocks
from rowcast.training.columns.written.dates import (
    FoundOrder,
    find_epoch,
    find_order,
    looks_like_dates,
    timestamps_in_order,
    timestamps_since,
)
from rowcast.training.columns.written.forms import (
    IN_THOUSANDS,
    Amounts,
    find_form,
    numbers_in_form,
    points_between_thousands,
    take_apart,
    written_like,
)
from rowcast.training.data.table import Table

MOSTLY = 0.9
"""From this share on, the values that do not fit are taken for mistakes in a column of that kind, and refused."""
WORTH_TELLING = 0.2
"""From this share of numbers, dates or booleans on, it is said why a column is a category nevertheless."""
COMMON = 10
"""A text that fewer rows hold is named in no decision: it could point at a person."""
_NAMED = 3
NOT_ALL = " is a category: "
"""How the sentence about a column begins of which some values alone are numbers, say."""
_FLAGS = {"number": "--number", "date": "--date", "boolean": "--boolean"}
_IN_SECONDS = " is read as seconds, of times of day or durations"

LEADING_ZERO = r"^[+-]?0[0-9]+$"


@dataclass(frozen=True)
class Levels:
    """The distinct texts of a column, none of them null for sure, and how many rows hold each, ``[distinct]``."""

    texts: pl.Series
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, texts: pl.Series) -> Levels:
        """Count the texts of a column."""
        counted = texts.drop_nulls().alias("text").value_counts(name="rows", sort=True)
        return cls(counted["text"], counted["rows"].to_numpy().astype(np.int64))

    def rows(self, which: NDArray[np.bool_]) -> int:
        """How many rows hold one of these."""
        return int(self.counts[which].sum())


@dataclass(frozen=True)
class Finding:
    """What a column of texts turned out to be."""

    kind: Kind
    reading: Reading = PLAIN
    markers: frozenset[str] = frozenset()
    """Texts that mean null in it, as it writes them."""
    reason: str = ""
    """Why it is a category, where its values would have said otherwise."""
    notes: tuple[str, ...] = ()
    """What else is worth saying, each the end of a sentence that begins with the column's name."""


@dataclass
class Look:
    """A column of texts as it is looked at: which of its distinct texts are what."""

    table: Table
    name: str
    levels: Levels
    plain_only: bool = False
    """Of a target: numbers and dates in the plain form alone, and the null spellings alone."""
    decimal: str = ""
    """What stands before the decimals of numbers, where a person said it."""
    n_rows: int = 0
    """Of the column, where the levels are of some of them alone; 0: the levels and the nulls of the table are all."""
    bare: pl.Series = field(init=False)
    content: NDArray[np.bool_] = field(init=False)
    n_content: int = field(init=False)

    def __post_init__(self) -> None:
        self.bare = self.levels.texts.str.strip_chars(BLANKS)
        spelled = self.bare.is_in([*NULL_SPELLINGS, ""]).to_numpy()
        self.nothing_said = self.levels.rows(~spelled) == 0
        self.marker = np.zeros(len(self.bare), bool) if self.plain_only else _markers(self.bare)
        self.content = ~spelled & ~self.marker
        self.n_content = self.levels.rows(self.content)

    @property
    def column(self) -> pl.Series:
        """The texts of all rows, where they were typed as well."""
        column = self.table.frame[self.name]
        return digits_in(column) if column.dtype.is_numeric() else column

    def all(self, which: NDArray[np.bool_]) -> bool:
        """Whether every text that says something is one of these."""
        return bool(np.all(which | ~self.content))

    def share(self, which: NDArray[np.bool_]) -> float:
        """The share of the rows that say something which hold one of these."""
        return self.levels.rows(which & self.content) / max(self.n_content, 1)

    def misfit(self, which: NDArray[np.bool_], expected: str, way_out: str) -> TableError:
        """The refusal of the first row that holds one of these."""
        texts = self.levels.texts.filter(pl.Series(which & self.content))
        unfit = self.column.is_in(texts.to_list()).fill_null(False)
        return misfit(self.table, self.name, int(unfit.to_numpy().argmax()), expected, way_out)

    def examples(self, which: NDArray[np.bool_]) -> list[str]:
        """The commonest of these, none that few rows hold."""
        shown = which & self.content & (self.levels.counts >= COMMON)
        return self.levels.texts.filter(pl.Series(shown)).head(_NAMED).to_list()

    def found(self, kind: Kind, reading: Reading = PLAIN, notes: Sequence[str] = ()) -> Finding:
        """The column is of this kind; the markers among its texts are null."""
        n_rows = self.n_rows or int(self.levels.counts.sum()) + self.table.frame[self.name].null_count()
        seen = self.levels.texts.filter(pl.Series(self.marker)).str.strip_chars(BLANKS)
        spelled = {text for text in seen if text}
        spellings = KINDS[kind].null_spellings
        shown = pl.DataFrame({"text": seen, "rows": self.levels.counts[self.marker]}).filter(
            ~pl.col("text").is_in(list(spellings))
        )
        sentences = list(notes)
        for text, rows in shown.head(_NAMED).iter_rows():
            sentences.append(f": {text!r} is read as null, in {percent(rows / n_rows)} of the training rows")
        return Finding(kind, reading, frozenset(spelled), notes=tuple(sentences))


def _markers(texts: pl.Series) -> NDArray[np.bool_]:
    return texts.str.to_lowercase().is_in(list(MARKERS)).to_numpy()


def percent(share: float) -> str:
    """A share as people write it: 15%, 2.4%, 0.31%."""
    return f"{100 * share:.3g}%" if 0.001 <= share <= 0.999 or share in (0.0, 1.0) else f"{100 * share:.2f}%"


def kind_of_type(dtype: pl.DataType) -> Finding | None:
    """The kind of a column of a type other than text; None where no model takes the type."""
    if dtype == pl.Boolean:
        return Finding("boolean")
    if dtype.is_integer():
        return Finding("integer")
    if dtype.is_numeric() or dtype == pl.Null:
        return Finding("number")
    if dtype == pl.Time or isinstance(dtype, pl.Duration):
        return Finding("duration", Reading(duration=True), notes=(_IN_SECONDS,))
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return Finding("timestamp")
    return None


def kind_of_texts(look: Look, way_out: str | None) -> Finding:
    """The kind of a column of texts, by what all of them are.

    Args:
        look: at the column.
        way_out: what to tell the person when nearly all values are of one kind and some are not; where None, such a
            column is a category.

    Raises:
        TableError: nearly all of them are of one kind; names the first that is not. Or nothing tells whether dates have
            the day first.
    """
    texts = look.bare
    if look.nothing_said:
        return Finding("number")  # all null, whatever it might have been
    if look.n_content == 0:
        return Finding("category")  # markers and nothing else tell one from another

    _, numbers = parse_numbers(texts)
    whole = is_whole_text(texts)
    leading_zero = texts.str.contains(LEADING_ZERO).to_numpy()
    if leading_zero.any() and np.all(whole | ~numbers) and look.share(_number_like(texts, numbers)) >= MOSTLY:
        return Finding("category", reason="a number would lose its leading zeros")
    if look.all(numbers):
        return _in_thousands(look) or _plain_numbers(look, whole)
    booleans = texts.str.to_lowercase().is_in(["true", "false"]).to_numpy()
    if look.all(booleans) and (not look.plain_only or bool(np.all(booleans | (texts == "").to_numpy()))):
        return look.found("boolean")
    _, iso = parse_timestamps(texts)
    if look.all(iso):
        return _iso_dates(look)
    if look.plain_only:
        return _mostly_plain(look, way_out, numbers, booleans, iso)
    return _other_forms(look, way_out, numbers, booleans, iso)


def declared_kind(look: Look, kind: DeclaredKind, order: DateOrder | None = None) -> Finding:
    """How a column of texts is read that a person declared to be numbers, dates or booleans.

    Raises:
        TableError: a text is none of that kind; names row, value and the way out.
    """
    texts, way_out = (
        look.bare,
        f"leave it empty, or list it with --null, or leave out {_FLAGS[kind]} {named(look.name)}",
    )
    if kind == "boolean":
        booleans = texts.str.to_lowercase().is_in(["true", "false"]).to_numpy()
        if look.all(booleans):
            return look.found("boolean")
        reading = Reading(words=True)
        words = np.array([text_value(text, "boolean", reading) is not None for text in texts], bool)
        if not look.all(words):
            raise look.misfit(~words, "true or false, nor a word of one such as yes, no, on, off, 1 or 0", way_out)
        return look.found("boolean", reading, [" is read as true or false, of words such as yes and no or 1 and 0"])
    if kind == "date":
        return _declared_dates(look, order, way_out)
    _, numbers = parse_numbers(texts)
    if look.all(numbers):
        if (finding := _in_thousands(look)) is not None:
            return finding
        whole = is_whole_text(texts)
        return look.found("integer" if look.all(whole) and not _beyond_exact(look) else "number")
    amounts = take_apart(texts)
    if (finding := _in_form(look, amounts, numbers, declared=True)) is not None:
        return finding
    clocks = durations_of(texts)[1]
    if look.all(clocks) and look.share(clocks) > look.share(numbers):
        return _durations(look)
    _, fits, _ = _numbers_of_most(look, amounts, numbers)
    raise look.misfit(~(numbers if fits is None else fits), "a number", way_out)


# --- numbers ----------------------------------------------------------------------------------------------------------


def _number_like(texts: pl.Series, numbers: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Numbers, and what some tools write for numbers that are not finite."""
    if not numbers.any():
        return numbers
    unbounded = texts.str.contains(NOT_FINITE).to_numpy() | np.isinf(parse_numbers(texts)[0])
    return np.asarray(numbers | unbounded)


def _beyond_exact(look: Look) -> bool:
    long = look.bare.filter(pl.Series(look.content) & (look.bare.str.len_bytes() > 15))
    return any(abs(int(text)) > EXACT_WHOLE for text in long)


def _plain_numbers(look: Look, whole: NDArray[np.bool_]) -> Finding:
    if not look.all(whole):
        return look.found("number")
    if _beyond_exact(look):
        return Finding("category", reason="whole numbers beyond 2**53 do not fit a double")
    return look.found("integer")


def _in_thousands(look: Look) -> Finding | None:
    """Numbers that look plain and whose points stand between thousands; None where these are decimals."""
    form, said = NumberForm(decimal=",", thousands="."), look.bare.filter(pl.Series(look.content))
    if look.plain_only or look.decimal == "." or not said.str.contains(".", literal=True).any():
        return None
    if look.decimal == "," and numbers_in_form(said, form)[1].all():
        return look.found("number", Reading(number=form), [_note_on_form(form, "")])
    if not points_between_thousands(said):
        return None
    return look.found("number", Reading(number=form), [_note_on_form(form, IN_THOUSANDS)])


def _in_form(look: Look, amounts: Amounts, numbers: NDArray[np.bool_], *, declared: bool = False) -> Finding | None:
    """Numbers in a form that all texts share; None where they do not."""
    if not look.all(amounts.like | numbers) or look.levels.rows(amounts.like & look.content) == 0:
        return None
    found = find_form(amounts, look.levels.counts, look.content & amounts.like, look.decimal, declared=declared)
    if found.form is None and found.reason and declared:
        raise TableError(
            f"{look.table.source}: column {look.name!r} cannot be read as numbers: {found.reason}; make them alike in "
            f"the table, or leave out --number {named(look.name)}"
        )
    if found.form is None or not look.all(numbers_in_form(look.bare, found.form)[1]):
        return None
    return look.found("number", Reading(number=found.form), [_note_on_form(found.form, found.remark)])


def _note_on_form(form: NumberForm, remark: str) -> str:
    example = written_like(form)
    scale = next((f", so that 26{sign} is 26" for sign in ("%", "‰") if sign in form.affixes), "")
    return f" is read as numbers written like {example}{scale}{'; ' if remark else ''}{remark}"


# --- dates and durations ----------------------------------------------------------------------------------------------


def _iso_dates(look: Look) -> Finding:
    zoned = look.bare.str.contains(r"(?i)(?:z|:.*[+-][0-9:]{2,})$").to_numpy()
    timed = look.bare.str.contains(":", literal=True).to_numpy()
    mixed = bool((zoned & look.content).any() and (timed & ~zoned & look.content).any())
    return look.found("timestamp", notes=[": some of its values name no zone and are read as UTC"] if mixed else [])


def _in_order(look: Look, order: DateOrder, by: FoundOrder | None = None) -> Finding:
    how = {
        "ymd": "is read as dates, which are not ISO 8601",
        "dmy": "is read as dates with the day before the month",
        "mdy": "is read as dates with the month before the day",
    }[order]
    why = {"": "", "day": ": a number beyond 12 tells which is the day", "point": ", as points stand between them"}
    note = f" {how}{why[by.decided_by] if by is not None else ''}"
    return look.found("timestamp", Reading(date_order=order), [note])


def _ask_for_order(look: Look, found: FoundOrder, which: NDArray[np.bool_]) -> TableError:
    texts = look.levels.texts.filter(pl.Series(which & look.content))
    held = look.column.is_in(texts.to_list()).fill_null(False).to_numpy()
    index, name = int(held.argmax()), look.name
    return TableError(
        f"{look.table.source}: dates of column {name!r} must tell the day from the month, got "
        f"{look.table.frame[name][index]!r} in {look.table.where(index)}, where {found.reason}: say it with "
        f"--date {named(f'{name}=dmy')} or --date {named(f'{name}=mdy')}, or read them as levels with "
        f"--category {named(name)}"
    )


def _declared_dates(look: Look, order: DateOrder | None, way_out: str) -> Finding:
    _, iso = parse_timestamps(look.bare)
    if look.all(iso) and order is None:
        return _iso_dates(look)
    unit = None if order else find_epoch(look.bare.filter(pl.Series(look.content & ~iso)))
    if unit is not None and look.all(timestamps_since(look.bare, unit)[1]):
        note = f" is read as timestamps, {EPOCH_WORDS[unit]} since 1970 in UTC"
        return look.found("timestamp", Reading(epoch=unit), [note])
    found = FoundOrder(order) if order else find_order(look.bare.filter(pl.Series(look.content & ~iso)))
    if found.order is None and found.undecided:
        raise _ask_for_order(look, found, ~iso)
    dates = timestamps_in_order(look.bare, found.order or "dmy")[1]
    if not look.all(dates):
        raise look.misfit(~dates, "a date", way_out)
    if found.order is None:
        raise TableError(f"{look.table.source}: column {look.name!r} cannot be read as dates: {found.reason}")
    return _in_order(look, found.order, None if order else found)


def _durations(look: Look) -> Finding:
    return look.found("duration", Reading(duration=True), [_IN_SECONDS])


# --- what does not agree ----------------------------------------------------------------------------------------------


def _other_forms(
    look: Look,
    way_out: str | None,
    numbers: NDArray[np.bool_],
    booleans: NDArray[np.bool_],
    iso: NDArray[np.bool_],
) -> Finding:
    texts = look.bare
    dates = iso
    date_like = iso | looks_like_dates(texts)
    found_order = FoundOrder(None)
    if look.share(date_like) >= WORTH_TELLING and look.share(date_like & ~iso):
        found_order = find_order(texts.filter(pl.Series(look.content & date_like & ~iso)))
        order = found_order.order or ("dmy" if found_order.undecided else None)
        dates = timestamps_in_order(texts, order)[1] if order else iso
        if look.all(dates) and found_order.undecided:
            raise _ask_for_order(look, found_order, ~iso)
        if look.all(dates) and order:
            return _in_order(look, order, found_order)
    amounts = take_apart(texts)
    if (finding := _in_form(look, amounts, numbers)) is not None:
        return finding
    clock_like = looks_like_clocks(texts)
    clocks = clock_like & (durations_of(texts)[1] if look.share(clock_like) >= WORTH_TELLING else False)
    one_form = in_one_form(texts.filter(pl.Series(look.content)))
    if look.all(clocks) and one_form:
        return _durations(look)

    like, fits, form_reason = _numbers_of_most(look, amounts, numbers)
    if way_out is not None:
        if fits is not None and look.share(like) >= MOSTLY:
            raise look.misfit(~fits, "a number", way_out)
        if look.share(booleans) >= MOSTLY:
            raise look.misfit(~booleans, "true or false", way_out)
        if look.share(dates) >= MOSTLY or (iso.any() and look.share(date_like) >= MOSTLY):
            if found_order.undecided:
                raise _ask_for_order(look, found_order, dates & ~iso)
            also = ", as others in it are" if dates is iso else ""
            raise look.misfit(~dates, f"an ISO 8601 date or date-time{also}" if dates is iso else "a date", way_out)
        if look.share(clocks) >= MOSTLY and one_form:
            raise look.misfit(~clocks, "a time of day or a duration", way_out)
    if look.all(amounts.like | numbers) and form_reason:
        return Finding("category", reason=form_reason)
    if look.all(date_like) and found_order.reason:
        return Finding("category", reason=found_order.reason)
    if look.all(clocks):
        return Finding("category", reason="some of its clocks have seconds and some have none, so they differ in unit")
    return _mostly_another_kind(
        look, {"numbers": like, "dates": date_like, "true or false": booleans, "clocks": clocks}
    )


def _numbers_of_most(
    look: Look, amounts: Amounts, numbers: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None, str]:
    """Texts that are like a number; those that are one in the form that most share, where there is such a form."""
    like = _number_like(look.bare, numbers)
    alike = look.content & amounts.like
    if look.share(numbers) >= MOSTLY or not alike.any():
        return np.asarray(like | amounts.like), numbers, ""
    found = find_form(amounts, look.levels.counts, alike, look.decimal)
    like = np.asarray(like | amounts.like)
    if found.form is None:
        # Where they do not agree, only the plain ones are numbers for certain.
        return like if found.reason and look.all(like) else _number_like(look.bare, numbers), None, found.reason
    return like, np.asarray(numbers | numbers_in_form(look.bare, found.form)[1]), ""


def _mostly_another_kind(look: Look, kinds: dict[str, NDArray[np.bool_]]) -> Finding:
    """A category of which many values are of another kind says so."""
    what, which = max(kinds.items(), key=lambda item: look.share(item[1]))
    share = look.share(which)
    if share < WORTH_TELLING:
        return Finding("category")
    examples = look.examples(~which)
    such = f", such as {', '.join(map(repr, examples))}" if examples else ""
    flag = {"numbers": "--number", "clocks": "--number", "dates": "--date", "true or false": "--boolean"}[what]
    nulls = ",".join(text for text in examples if "," not in text)
    ways = f"say --null {named(nulls)}" if nulls else f"correct them and say {flag} {named(look.name)}"
    if share == 1.0:
        return Finding("category", reason=f"its {what} do not agree on one form")
    note = (
        f"{NOT_ALL}{percent(share)} of its values are {what}, {percent(1 - share)} are not{such}; "
        f"to read them as {what}, {ways}"
    )
    return Finding("category", notes=(note,))


def _mostly_plain(
    look: Look,
    way_out: str | None,
    numbers: NDArray[np.bool_],
    booleans: NDArray[np.bool_],
    iso: NDArray[np.bool_],
) -> Finding:
    """A target that is not all of one plain kind."""
    if way_out is not None:
        if look.share(_number_like(look.bare, numbers)) >= MOSTLY:
            raise look.misfit(~numbers, "a number", way_out)
        if look.share(booleans) >= MOSTLY:
            raise look.misfit(~booleans, "true or false", way_out)
        if look.share(iso) >= MOSTLY:
            raise look.misfit(~iso, "an ISO 8601 date or date-time, as others in it are", way_out)
    return Finding("category")
