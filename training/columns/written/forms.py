"""Whole columns of numbers that are not written the plain way: which form they share, and what they are by it.

The reading of one text is :func:`rowcast.models.texts.parse_number`; what arrays can read faster is read with arrays,
and a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.reading import NumberForm
from rowcast.models.texts import parse_number
from rowcast.models.texts.numbers import APOSTROPHES, BLANKS, MINUS, SPACES, digits_pattern

_CODES = (
    "USD|EUR|GBP|JPY|CNY|RMB|INR|AUD|CAD|CHF|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|BRL|MXN|ZAR|KRW|SGD|HKD|TRY|ILS|THB|IDR|MYR"
    "|PHP|VND|AED|SAR|EGP|NGN|KES|ARS|CLP|COP|PEN|UAH|RON|BGN|ISK|TWD|PKR|BDT|LKR|Rs|INR|kr|zł|Fr|RM|Rp"
)
_SIGN = rf"[+{re.escape(MINUS)}]"
_BLANK = rf"[{SPACES}\t]*"
_BODY = rf"[0-9][0-9.,{APOSTROPHES}{SPACES}]*[0-9.,]|[0-9]|[.,][0-9]+"
_UNIT = r"[\p{L}\p{Sc}\p{So}%‰°′″µ*][\p{L}\p{S}²³%‰°/*.·-]{0,11}"
_SUFFIX = rf"(?:{_UNIT}|[\p{{L}}/]{{0,6}}m[23])(?: ?[\p{{L}}²³]{{1,6}})?"
_AMOUNT = (
    rf"^(?P<open>[(]?)(?P<sign>{_SIGN}?){_BLANK}(?P<prefix>(?:[A-Z]{{0,3}}\p{{Sc}}[A-Z]{{0,3}}|(?:{_CODES})\.?|%)?){_BLANK}"
    rf"(?P<inner_open>[(]?)(?P<inner_sign>{_SIGN}?){_BLANK}(?P<body>{_BODY})(?P<exponent>(?:[eE][+-]?[0-9]+)?){_BLANK}"
    rf"(?P<inner_close>[)]?){_BLANK}(?P<suffix>(?:{_SUFFIX})?){_BLANK}(?P<close>[)]?)(?P<last_sign>[{re.escape(MINUS)}]?)$"
)
"""An amount in any form: sign, currency, digits with marks, unit."""
_SCALES = frozenset(
    [
        "%",
        "‰",
        "k",
        "m",
        "b",
        "g",
        "t",
        "mn",
        "bn",
        "mio",
        "mrd",
        "thousand",
        "million",
        "billion",
        "trillion",
        "lakh",
        "crore",
    ]
)
"""Affixes that multiply: a number without one beside them is of another scale."""
_CANDIDATES = (
    NumberForm(),
    NumberForm(thousands=","),
    NumberForm(decimal=","),
    NumberForm(decimal=",", thousands="."),
    NumberForm(thousands=" "),
    NumberForm(decimal=",", thousands=" "),
    NumberForm(thousands="'"),
    NumberForm(decimal=",", thousands="'"),
)
_MOSTLY_AFFIXED = 0.5
_OTHER_SIZE = 8.0
"""Times by which numbers with a unit and those without differ where they are of two units: kg and g, % and shares."""
_ENOUGH = 5
"""Rows without a unit of which that can be told."""
_CODE = rf"(?:{_CODES})\.?"
_BEFORE = rf"[A-Z]*[^\w\s%‰°′″€]+[A-Z]*|{_CODE}"
_MAX_UNITS = 20
"""More affixes than this are no units: letters of a code, say."""
_NO_FORM = "no form"
_LISTED = 3
IN_THOUSANDS = "its points stand between thousands, as numbers of up to three digits have none"


@dataclass(frozen=True)
class FoundForm:
    """The form of a column: None where there is none that all its amounts share, and ``reason`` says why."""

    form: NumberForm | None
    reason: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Amounts:
    """Distinct texts taken apart, those that are an amount in some form: ``like`` says which, ``[distinct]``."""

    like: NDArray[np.bool_]
    parts: pl.DataFrame


def take_apart(texts: pl.Series) -> Amounts:
    """Take distinct texts apart: what stands around their digits, and the digits with their marks."""
    parts = texts.str.extract_groups(_AMOUNT).struct.unnest()
    like = parts["body"].is_not_null().to_numpy()
    return Amounts(like, parts)


def find_form(
    amounts: Amounts,
    counts: NDArray[np.int64],
    which: NDArray[np.bool_],
    decimal: str = "",
    *,
    declared: bool = False,
) -> FoundForm:
    """The form that amounts share.

    Args:
        amounts: the distinct texts of a column.
        counts: rows that hold each, ``[distinct]``.
        which: those to look at, ``[distinct]``; all of them amounts.
        decimal: the decimal mark, where a person said it.
        declared: whether a person said that they are numbers: those without a unit are of the one that others name.
    """
    parts, counts = amounts.parts.filter(pl.Series(which)), counts[which]
    affixes, reason = _affixes(parts, counts, declared=declared)
    if reason:
        return FoundForm(None, reason.removeprefix(_NO_FORM))
    bracketed = (parts["open"] != "") | (parts["inner_open"] != "")
    closed = (parts["close"] != "") | (parts["inner_close"] != "")
    if (bracketed != closed).any():
        return FoundForm(None)
    bodies = parts["body"]
    fits = {form: bodies.str.contains(f"^(?:{_whole_pattern(form)})$") for form in _CANDIDATES}
    fitting = [form for form, which in fits.items() if which.all() and decimal in ("", form.decimal)]
    marks, remark = (fitting[0], "") if decimal and fitting else _marks(fitting, bodies)
    if marks is None:
        each_fits = np.all(np.any([which.to_numpy() for which in fits.values()], axis=0))
        return FoundForm(None, "its numbers are written in several forms" if each_fits else "")
    form = marks.model_copy(update={"affixes": affixes, "parentheses": bool(bracketed.any())})
    bare = ((parts["prefix"] == "") & (parts["suffix"] == "")).to_numpy()
    if not affixes or not bare.any():
        return FoundForm(form, remark=remark)
    values = np.abs(numbers_in_form(bodies, marks)[0])
    if counts[bare].sum() >= _ENOUGH and _differ_in_size(values, counts, bare):
        reason = f"its numbers with {affixes[0]!r} and those with no unit differ in size, as those of two units do"
        return FoundForm(None, reason)
    share = counts[bare].sum() / counts.sum()
    note = f"{100 * share:.3g}% of them have no {affixes[0]!r} and are read as of the same unit"
    return FoundForm(form, remark="; ".join(filter(None, (remark, note))))


def _differ_in_size(values: NDArray[np.float64], counts: NDArray[np.int64], bare: NDArray[np.bool_]) -> bool:
    """Whether the typical number without a unit is far from the typical one with it; 0 is of any size."""
    sizes = []
    for which in (bare, ~bare):
        present = which & (values > 0)
        if not present.any():
            return False
        sizes.append(float(np.median(np.repeat(np.log(values[present]), counts[present]))))
    return abs(sizes[0] - sizes[1]) >= float(np.log(_OTHER_SIZE))


def _marks(fitting: list[NumberForm], bodies: pl.Series) -> tuple[NumberForm | None, str]:
    """Which of the forms that fit is meant, and what is worth saying about it."""
    if not fitting:
        return None, ""
    plain, english, comma, german = _CANDIDATES[:4]
    if plain in fitting:
        return (german, IN_THOUSANDS) if german in fitting and points_between_thousands(bodies) else (plain, "")
    if english in fitting:
        doubtful = comma in fitting
        return english, "its commas are taken to stand between thousands; nothing in it says so" if doubtful else ""
    return fitting[0], ""


def points_between_thousands(texts: pl.Series) -> bool:
    """Whether plain numbers are of thousands: 1.250 beside 999.

    Nobody pads some decimals with zeros to three places and writes others without a point.
    """
    whole = texts.str.contains(r"^[+-]?[0-9]{1,3}$")
    if not whole.any():
        return False
    pointed = texts.filter(~whole)
    grouped = pointed.str.contains(r"^[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+$").all()
    return bool(len(pointed) > 0 and grouped and pointed.str.ends_with("0").any())


def _affixes(parts: pl.DataFrame, counts: NDArray[np.int64], *, declared: bool) -> tuple[tuple[str, ...], str]:
    """What is cut off the numbers, longest first; or why they do not share it."""
    pairs = pl.DataFrame(
        {"prefix": parts["prefix"].str.strip_chars("."), "suffix": parts["suffix"].str.strip_chars(BLANKS)}
    ).with_columns(rows=pl.Series(counts))
    meant = pairs.with_columns(pl.col("prefix", "suffix").str.to_lowercase().str.replace(r"(.)s$", "$1"))
    kinds = meant.group_by("prefix", "suffix").agg(pl.col("rows").sum()).sort(-pl.col("rows"), "prefix", "suffix")
    named = kinds.filter((pl.col("prefix") != "") | (pl.col("suffix") != ""))
    if len(named) == 0:
        return (), ""
    if len(named) > _MAX_UNITS:
        return (), _NO_FORM
    if len(named) > 1:
        common = named.filter(pl.col("rows") >= 10).head(_LISTED)
        shown = ", ".join(repr(f"{p}{s}") for p, s, _ in common.iter_rows())
        such = f", such as {shown}" if shown else ""
        return (), f"its numbers are of several units or currencies{such}"
    rows = int(kinds["rows"].sum())
    unit = named["prefix"][0] + named["suffix"][0]
    bare = rows - int(named["rows"][0])
    zero = parts["body"].str.contains("^[0.,]+$") & (parts["prefix"] == "") & (parts["suffix"] == "")
    of_another_scale = unit in _SCALES and bare > int(counts[zero.to_numpy()].sum())
    if bare and not declared and (of_another_scale or bare > (1 - _MOSTLY_AFFIXED) * rows):
        return (), f"some of its numbers have {unit!r} and some ({100 * bare / rows:.3g}%) have none"
    spelled = parts.select(pl.col("prefix"), pl.col("suffix").str.strip_chars(BLANKS)).unpivot()["value"].unique()
    return tuple(sorted((text for text in spelled if text), key=lambda text: (-len(text), text))), ""


def _whole_pattern(form: NumberForm) -> str:
    return digits_pattern(form.decimal, form.thousands)


def numbers_in_form(texts: pl.Series, form: NumberForm) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers of a column of texts, as :func:`rowcast.models.texts.parse_number` gives them one by one.

    Returns:
        the numbers ``[rows]``, NaN where the text is null or none; and where it is one, ``[rows]``.
    """
    texts = texts.str.strip_chars(BLANKS)
    affix = f"(?:{'|'.join(map(re.escape, form.affixes))})?" if form.affixes else ""
    # Several signs or brackets are rare, and left to the reading of one text.
    pattern = rf"^{_SIGN}?{_BLANK}{affix}{_BLANK}(?:{_whole_pattern(form)}){_BLANK}{affix}$"
    exponents = not any("e" in text.lower() for text in form.affixes)
    simple = texts.str.contains(pattern).fill_null(False)
    negative = texts.str.contains(f"^[{re.escape(MINUS)}]").fill_null(False).to_numpy()
    digits = texts.set(~simple, None).str.replace(f"^{_SIGN}", "")
    if form.affixes:
        digits = digits.str.replace_many(list(form.affixes), [""] * len(form.affixes), leftmost=True)
    mark = {" ": "", "'": APOSTROPHES}.get(form.thousands, form.thousands)
    digits = digits.str.replace_all(f"[{re.escape(mark)}{BLANKS}]", "").str.replace(form.decimal, ".", literal=True)
    if not exponents:
        digits = digits.set(digits.str.contains("(?i)e").fill_null(False), None)
    values = digits.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    values = np.where(negative, -values, values)
    return _finished(texts, values, lambda text: parse_number(text, form))


def _finished(
    texts: pl.Series, values: NDArray[np.float64], parse: Callable[[str], float | None]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values of a column, those that arrays could not read filled in one distinct text at a time."""
    left = texts.is_not_null().to_numpy() & ~np.isfinite(values)
    if left.any():
        rest = texts.filter(pl.Series(left))
        values = values.copy()
        values[left] = each(rest, parse, np.nan, pl.Float64)
    return values, np.isfinite(values)


def each(texts: pl.Series, parse: Callable[[str], Any], missing: Any, dtype: Any) -> NDArray[Any]:
    """What ``parse`` says of each text, ``missing`` where it says None; asked once a distinct text, ``[rows]``."""
    distinct = texts.drop_nulls().unique()
    said = [missing if (value := parse(text)) is None else value for text in distinct]
    read = pl.Series(said, dtype=dtype)
    return texts.replace_strict(distinct, read, default=missing, return_dtype=dtype).to_numpy()


def written_like(form: NumberForm) -> str:
    """An example of a form that no row holds: ``$1,234.50``."""
    if form == NumberForm():
        return "\u22121234.5"
    text = f"1{form.thousands}234{form.decimal}5"
    before = next((a for a in form.affixes if re.fullmatch(_BEFORE, a)), "")
    behind = next((a for a in form.affixes if not re.fullmatch(_BEFORE, a)), "")
    text = f"{before}{' ' if re.fullmatch(_CODE, before) else ''}{text}{'' if behind in '%‰' else ' '}{behind}"
    return f"({text})" if form.parentheses else text
