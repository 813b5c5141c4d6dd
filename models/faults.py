"""What is wrong with a JSON file that somebody wrote or edited, in a few words: it may be of any size."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from rowcast.models.printable import brief


def first_fault(error: ValidationError) -> str:
    """Where the first fault is, and what it is."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = brief(".".join(str(part) for part in first["loc"])) or "it"
    return f"{where}: {brief(first['msg'])}"


def repeated_key(text: bytes) -> str | None:
    """What is wrong where an object says something twice; None where none does, or where the text is no JSON.

    A reader would take the last without a word, and a person the first.

    >>> repeated_key(b'{"canary": 0.01, "canary": 1}')
    'canary: an object must have each key once, got this one twice'
    """
    twice: list[str] = []

    def checked(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                twice.append(key)
            seen.add(key)

    try:
        json.loads(text, object_pairs_hook=checked, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):  # which its reader tells in his own words
        return None
    return f"{brief(twice[0])}: an object must have each key once, got this one twice" if twice else None
