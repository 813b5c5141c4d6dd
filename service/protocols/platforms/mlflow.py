"""MLflow's scoring protocol (2.0 and later) on ``/invocations``, and the pages that its tools ask for.

Source: MLflow, "Deploy MLflow Model as a Local Inference Server", and its ``mlflow.pyfunc.scoring_server``. MLflow's
own client writes missing values as ``NaN``, so that is taken for null here and on no other route. A model of MLflow
leaves out columns that its signature does not know; here they are refused, as on every route: a misspelt name of a
nullable column would otherwise be a missing value without a word.
"""

from __future__ import annotations

from rowcast.service.protocols.platforms.json_forms import JsonForm

FORM = JsonForm(
    lists=("instances", "inputs", "dataframe_records"),
    empty=("params",),
    split=True,
    bare=True,
    nan_is_null=True,
)
PING = "/ping"
HEALTH = "/health"
VERSION = "/version"
INVOCATIONS = "/invocations"
