"""The nodes that read a column of text word by word, as :mod:`rowcast.training.columns.words` does.

    text ─ Where (what means null) ─┬─ StringSplit ─ Slice ─ Squeeze ─ TfIdfVectorizer ─┬─ Concat ─ bag of words
                                    └─ Equal "" ─ Cast ─────────────────────────────────┘

``StringSplit`` splits at spaces, stops after the words that are read and leaves the rest of the text in one piece,
which ``Slice`` cuts off: a text of a megabyte costs its copies and no more. What pads a row to the longest of a run
is no word. ``TfIdfVectorizer`` in its mode IDF without weights gives 1 for a word that is there and 0 for one that is
not; several forms of a word have one place. ``StringNormalizer``, which could put words in small letters, is not used:
it asks the machine for a locale, and answers by what it gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rowcast.models.signature import MISSING_STRING
from rowcast.training.columns.words import WORDS_READ
from rowcast.training.features.words import WordBags

_BOUNDS = {"start": 0, "end": WORDS_READ, "axis": 2}


def put_words(
    bags: WordBags,
    inputs: Mapping[str, ir.Value],
    node: Callable[..., ir.Value],
    constant: Callable[[str, NDArray[Any]], ir.Value],
    behind: str = "",
) -> list[ir.Value]:
    """Write the nodes of every column that is read word by word.

    Args:
        bags: of the encoder.
        inputs: of the graph, STRING ``[rows, 1]``.
        node: writes a node, ``node(op, values, name, attributes)``, and gives its first output.
        constant: makes an initializer.
        behind: what stands at the end of their names.

    Returns:
        for each of the columns FLOAT ``[rows, 1 + its words]``.
    """
    empty = constant(f"empty{behind}", np.array(MISSING_STRING, object))
    bounds = [constant(f"words_{which}{behind}", np.array([at], np.int64)) for which, at in _BOUNDS.items()]
    one = constant(f"text_axis{behind}", np.array([1], np.int64))
    found = []
    for i, (name, forms) in enumerate(bags.forms.items()):
        text = inputs[name]
        for k, null in enumerate(null for null in bags.nulls[name] if null != MISSING_STRING):
            is_null = node(
                "Equal", [text, constant(f"null.{i}.{k}{behind}", np.array(null, object))], f"is_null.{i}.{k}{behind}"
            )
            text = node("Where", [is_null, empty, text], f"text.{i}.{k}{behind}")
        missing = node(
            "Cast",
            [node("Equal", [text, empty], f"no_text.{i}{behind}")],
            f"missing.{i}{behind}",
            {"to": ir.DataType.FLOAT},
        )
        split = node("StringSplit", [text], f"split.{i}{behind}", {"delimiter": "", "maxsplit": WORDS_READ}, outputs=2)
        words = node("Squeeze", [node("Slice", [split, *bounds], f"first.{i}{behind}"), one], f"words.{i}{behind}")
        attributes = {
            "mode": "IDF",
            "min_gram_length": 1,
            "max_gram_length": 1,
            "max_skip_count": 0,
            "ngram_counts": [0],
            "ngram_indexes": list(forms.values()),
            "pool_strings": list(forms),
        }
        held = node("TfIdfVectorizer", [words], f"held.{i}{behind}", attributes)
        found.append(node("Concat", [missing, held], f"bag.{i}{behind}", {"axis": 1}))
    return found
