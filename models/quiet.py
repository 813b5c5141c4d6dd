"""Nothing is sent home: the telemetry of the libraries is turned off before they are loaded.

ONNX Runtime reports to Microsoft (its version, the machine, each session and how often it runs), BentoML to
t.bentoml.com, and MLflow, which training can be told to use, to its makers. All heed a variable, which the processes
that this one starts inherit. The variables are set whatever they held before: BentoML takes ``BENTOML_DO_NOT_TRACK=1``
for a yes to tracking.
"""

from __future__ import annotations

import os
import sys

VARIABLES = {"ORT_DISABLE_TELEMETRY": "1", "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}
_BENTOML_TRACKING = "bentoml._internal.utils.analytics.usage_stats"


def be_quiet() -> None:
    """Turn off telemetry in this process and in those it starts.

    What was loaded before is told as well: an ``onnxruntime`` that was imported first, and BentoML's command line,
    which looks at its variable before it imports a service, and remembers what it saw.
    """
    os.environ.update(VARIABLES)
    tracking = sys.modules.get(_BENTOML_TRACKING)
    if tracking is not None:
        tracking.do_not_track.cache_clear()
    stop = getattr(sys.modules.get("onnxruntime"), "disable_telemetry_events", None)
    if stop is not None:
        stop()


be_quiet()
