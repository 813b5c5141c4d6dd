"""MLflow's own client of its scoring server."""

from __future__ import annotations

import json
import sys

import pandas as pd
from mlflow.pyfunc.scoring_server import infer_and_parse_data
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

row = json.load(sys.stdin)
client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
frame = pd.DataFrame([row, row])
dated = frame.assign(departs=pd.to_datetime(frame["departs"]))
missing = frame.assign(distance=float("nan"), departs=pd.NaT)


def late(answer) -> float:
    """The probability of the last prediction, once the client has read all."""
    return answer.get_predictions()["probabilities"].iloc[-1]["late"]


client.wait_server_ready(timeout=30)
split = {"columns": list(row), "data": [list(row.values())]}
parsed = infer_and_parse_data({"dataframe_split": split})  # what MLflow's server makes of the same body
exchanges = {
    "get_version": client.get_version() == "0.1.0",
    "a frame": late(client.invoke(frame)),
    "a frame with dates": late(client.invoke(dated)),
    "a frame with missing values": late(client.invoke(missing)),
    "a frame, with params of nothing": late(client.invoke(frame, params={})),
    "a list of rows": late(client.invoke([row, row])),
    "dataframe_split": late(client.invoke(json.dumps({"dataframe_split": split}))),
    "dataframe_split is MLflow's": parsed.iloc[0].to_dict()["carrier"] == row["carrier"],
    "dataframe_records": late(client.invoke(json.dumps({"dataframe_records": [row]}))),
    "instances": late(client.invoke(json.dumps({"instances": [row]}))),
    "inputs": late(client.invoke(json.dumps({"inputs": {name: [value] for name, value in row.items()}}))),
}
print(json.dumps(exchanges))
