"""Text of unknown origin for a terminal or a log: what a terminal would act on is written as an escape."""

from __future__ import annotations

import unicodedata

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls (a terminal's commands begin with one), formats (they turn the direction of writing), halves of surrogate
pairs, and the separators of lines and paragraphs."""


_BRIEF = 200


def printable(text: str, keep: str = "") -> str:
    r"""The text on one line, with every character that does not simply stand there as ``\x1b`` or ``\u202e``.

    Args:
        text: any.
        keep: control characters to leave as they are, such as a newline.
    """
    if text.isprintable():  # there is no such character
        return text
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _ESCAPED
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def brief(text: str, most: int = _BRIEF) -> str:
    """The same of a text of any length, of which so many characters are shown at most.

    >>> brief("a" * 300, 5)
    'aaaaa...'
    """
    shown = printable(text[: most + 1])
    return shown if len(shown) <= most else shown[:most] + "..."
