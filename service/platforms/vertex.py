"""Vertex AI: the routes that its variables name, ``{"instances": [...]}`` in and ``{"predictions": [...]}`` out.

Source: Vertex AI, "Custom container requirements for prediction". A route that it names may be one that exists, such as
``/predict``: then bodies of rows are answered there as before.
"""

from __future__ import annotations

from collections.abc import Iterable

from service.http import Header, check_headers
from service.platforms.json_forms import JsonForm
from service.platforms.predictions import Exchange, as_predictions
from service.platforms.rows import Places
from service.served import ServedModel

FORM = JsonForm(lists=("instances", "rows"), empty=("parameters",))


def understand(headers: Iterable[Header], served: ServedModel) -> Exchange:
    """How a request is exchanged."""
    check_headers(headers, served.max_body)
    return Exchange(FORM.read, Places(FORM.lists[0]), as_predictions, FORM)
