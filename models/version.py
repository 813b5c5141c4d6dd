"""The version of Rowcast; ``pyproject.toml`` names the same."""

from __future__ import annotations

VERSION = "0.1.0"
