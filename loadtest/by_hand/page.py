"""Locust's page: what it starts a run with is checked first, as the command line checks it."""

from __future__ import annotations

import logging
import re
from typing import Any

from flask import jsonify, request
from werkzeug.datastructures import ImmutableMultiDict

from rowcast.loadtest.by_hand.options import READERS, read
from rowcast.models.errors import ConfigError

_log = logging.getLogger(__name__)


def check_what_the_page_sends(environment: Any, web_ui: Any) -> None:
    """Have a run refused whose options say nothing that they may, as Locust refuses a wrong number of users.

    The page shows the message; the run that may be going on goes on, and no option is changed.
    """

    def check() -> Any:
        if (request.endpoint or "").rpartition(".")[2] != "swarm":
            return None
        request.form = ImmutableMultiDict(
            [(_MANGLED.get(name, name), value) for name, value in request.form.items(multi=True)]
        )
        try:
            for name, value in request.form.items():
                if name in READERS:
                    read(name, value)
        except ConfigError as error:
            _log.error("%s", error)
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        return None

    web_ui.app.before_request(check)


def _as_the_page_says(name: str) -> str:
    """The name of an option after the page has made it ``camelCase`` and taken that back, as its script does.

    >>> _as_the_page_says("user_rate"), _as_the_page_says("promise_p99_ms")
    ('user_rate', 'promise_p9_9ms')
    """
    camel = re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
    return re.sub(r"([a-z0-9])([A-Z0-9])", r"\1_\2", camel).lower()


_MANGLED = {_as_the_page_says(name): name for name in READERS}
"""Names that do not survive this; Locust passes over what it does not know, and the field would say nothing."""
