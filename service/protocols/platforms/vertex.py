"""Vertex AI: the routes that its variables name, ``{"instances": [...]}`` in and ``{"predictions": [...]}`` out.

Source: Vertex AI, "Custom container requirements for prediction". A route that it names may be one that exists, such as
``/predict``: then bodies of rows are answered there as before.
"""

from __future__ import annotations

from collections.abc import Iterable

from rowcast.service.engine.model import Model
from rowcast.service.http.body import Header, negotiate_content_type
from rowcast.service.protocols.platforms.json_forms import JsonForm
from rowcast.service.protocols.platforms.predictions import Exchange, as_predictions
from rowcast.service.protocols.platforms.rows import ErrorPaths

FORM = JsonForm(lists=("instances", "rows"), empty=("parameters",))


def handler(headers: Iterable[Header], served: Model) -> Exchange:
    """How a request is exchanged."""
    negotiate_content_type(headers, served.max_body)
    return Exchange(FORM.read, ErrorPaths(FORM.lists[0]), as_predictions, FORM)
