"""Paths that only say whether the service is well: without a key, without a line in the log, and never turned away."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl

from rowcast.service.http.body import Scope
from rowcast.service.platform_variables import health_routes

OWN_PROBES = frozenset({"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/ping", "/health"})
PROBES = OWN_PROBES | health_routes(os.environ)
"""With the one that a platform may have named."""


def asks_for_details(scope: Scope) -> bool:
    """Whether a probe asks for more than yes or no, as ``/readyz?verbose`` does: that is told to holders of a key."""
    query: bytes = scope.get("query_string") or b""
    return any(name == "verbose" for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
