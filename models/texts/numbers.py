"""Numbers as people write them: ``$1,234.50``, ``1.234,5 kg``, ``(12)``, ``26%``."""

from __future__ import annotations

import math
import re
from functools import lru_cache

from rowcast.models.reading import NumberForm

SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""Every kind of space, among them the no-break ones that stand between thousands."""
BLANKS = SPACES + "\t"
"""What may stand around a number, a date or a duration."""
MINUS = "-\u2212\u2013\u2012\ufe63\uff0d"
"""Signs that mean minus: the hyphen, the true minus sign, and what word processors make of a hyphen."""
APOSTROPHES = "'\u2019\u02bc"

_MAYBE_THOUSANDS = re.compile(r"[+-]?(?:[1-9][0-9]{0,2}\.[0-9]{3}(?:[eE].*)?|[0-9]+\.)", re.ASCII)
_PLAIN = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?", re.ASCII)


def parse_number(text: str, form: NumberForm | None = None) -> float | None:
    """The number that a text is in a column's form; None where it is none, or none that a double can hold.

    What can be read one way only is read whatever the form: a number written the plain way (``-1234.5``), and one in
    an accountant's parentheses. Where the decimal mark is a comma, ``1.234`` is a thousand or nothing, as its point may
    stand between thousands; ``7.88``, ``0.125`` and ``1234.567`` cannot be such.

    >>> parse_number("-$1,234.50", NumberForm(thousands=",", affixes=("$",)))
    -1234.5
    >>> parse_number("26 %", NumberForm(affixes=("%",)))
    26.0
    >>> parse_number("1.234,5", NumberForm(decimal=",", thousands="."))
    1234.5
    >>> parse_number("7.88", NumberForm(decimal=",")), parse_number("(366.60)", NumberForm())
    (7.88, -366.6)
    """
    text = text.strip(BLANKS)
    if _PLAIN.fullmatch(text) and (form is None or form.decimal == "." or not _MAYBE_THOUSANDS.fullmatch(text)):
        return _finite(text)
    return None if form is None else _in_form(text, form)


def _in_form(text: str, form: NumberForm) -> float | None:
    """Peel off what stands around the digits: affixes, one pair of parentheses and one sign, in any order."""
    negative = signed = bracketed = False
    prefixed = suffixed = not form.affixes
    while text:
        if not signed and (text[0] in MINUS or text[0] == "+"):
            signed, negative, text = True, negative or text[0] != "+", text[1:]
        elif not signed and text[-1] in MINUS:
            signed, negative, text = True, True, text[:-1]
        elif not bracketed and text[0] == "(" and text[-1] == ")":
            bracketed, negative, text = True, True, text[1:-1]
        elif not prefixed and (affix := next((a for a in form.affixes if text.startswith(a)), "")):
            prefixed, text = True, text[len(affix) :]
        elif not suffixed and (affix := next((a for a in form.affixes if text.endswith(a)), "")):
            suffixed, text = True, text[: -len(affix)]
        else:
            break
        text = text.strip(BLANKS)
    if signed and bracketed:
        return None
    match = _digits(form.decimal, form.thousands).fullmatch(text)
    if match is None:
        plain = form.decimal != "." and _PLAIN.fullmatch(text) and not _MAYBE_THOUSANDS.fullmatch(text)
        value = _finite(text) if plain and text[0] not in "+-" else None
        return None if value is None else -value if negative else value
    whole, fraction, only_fraction, exponent = match.groups("")
    digits = "".join(c for c in whole if c.isdigit())
    value = _finite(f"{digits or '0'}.{fraction or only_fraction or '0'}{exponent}")
    return None if value is None else -value if negative else value


@lru_cache(maxsize=32)
def _digits(decimal: str, thousands: str) -> re.Pattern[str]:
    return re.compile(digits_pattern(decimal, thousands), re.ASCII)


def digits_pattern(decimal: str, thousands: str) -> str:
    """The pattern of the digits of a form, without sign and affixes: the whole part, the decimals, the exponent."""
    mark = {"": "", " ": f"[{SPACES}]", "'": f"[{APOSTROPHES}]"}.get(thousands, re.escape(thousands))
    # In groups of three; of two, where India counts in lakhs.
    threes = rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+"
    lakhs = rf"[1-9][0-9]?(?:{mark}[0-9]{{2}})+{mark}[0-9]{{3}}"
    whole = rf"{threes}|{lakhs}|[0-9]+" if mark else "[0-9]+"
    point = re.escape(decimal)
    return rf"(?:({whole})(?:{point}([0-9]*))?|{point}([0-9]+))([eE][+-]?[0-9]+)?"


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
