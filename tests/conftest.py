"""What holds for every test: properties are tried on the same cases each time, unless FUZZ_CASES asks for new ones.

A suite that passes today and fails tomorrow on the same code says nothing about either; `make fuzz` and
`make fuzz-gate` look for new cases, and what they find is kept as an example.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True)
if "FUZZ_CASES" not in os.environ:
    settings.load_profile("same")
