"""Paths that only say whether the service is well: without a key, without a line in the log, and never turned away."""

from __future__ import annotations

import os

from rowcast.service.platform_variables import health_routes

OWN_PROBES = frozenset({"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/ping", "/health"})
PROBES = OWN_PROBES | health_routes(os.environ)
"""With the one that a platform may have named."""
