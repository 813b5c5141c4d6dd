"""Telemetry is off before a library that would send anything is loaded, in whatever order they come."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AT_LOAD = """
import builtins, os, sys
known, found = builtins.__import__, {}
def watched(name, *rest):
    if name.split(".")[0] in ("onnxruntime", "bentoml", "_bentoml_impl") and name.split(".")[0] not in found:
        found[name.split(".")[0]] = [os.environ.get(v) for v in ("ORT_DISABLE_TELEMETRY", "BENTOML_DO_NOT_TRACK")]
    return known(name, *rest)
builtins.__import__ = watched
exec(sys.argv[1])
print(len(found), set(map(tuple, found.values())))
"""


@pytest.mark.parametrize("variables", [{}, {"ORT_DISABLE_TELEMETRY": "0", "BENTOML_DO_NOT_TRACK": "1"}])
@pytest.mark.parametrize(
    "code",
    [
        "import rowcast, rowcast.models.session",
        "from rowcast.models import Session",
        "from rowcast.models.session import Session",
    ],
)
def test_telemetry_is_off_when_the_libraries_are_loaded(code: str, variables: dict[str, str]) -> None:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ORT_DISABLE_TELEMETRY", "BENTOML_DO_NOT_TRACK")
    }
    say = [sys.executable, "-c", AT_LOAD, code + "; import bentoml"]
    done = subprocess.run(say, cwd=ROOT, env=kept | variables, capture_output=True, text=True, check=True)
    assert done.stdout == "3 {('1', 'True')}\n"


LATE = """
from bentoml._internal.utils.analytics import usage_stats
assert not usage_stats.do_not_track()  # as its command line does before it imports a service
import rowcast.service.settings
print(usage_stats.do_not_track())
"""


def test_bentoml_that_was_asked_before_is_told_as_well() -> None:
    kept = {name: value for name, value in os.environ.items() if name != "BENTOML_DO_NOT_TRACK"}
    done = subprocess.run([sys.executable, "-c", LATE], cwd=ROOT, env=kept, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
