"""SageMaker's serializers and deserializers, and the contract of its containers over plain HTTP."""

from __future__ import annotations

import io
import json
import sys
import time

import numpy as np
import pandas as pd
import requests
from sagemaker.core.deserializers.base import CSVDeserializer, JSONDeserializer, JSONLinesDeserializer
from sagemaker.core.serializers.base import CSVSerializer, JSONLinesSerializer, JSONSerializer

row = json.load(sys.stdin)
values = list(row.values())
url = f"http://127.0.0.1:{sys.argv[1]}"
csv_out, json_out, lines_out = CSVDeserializer(), JSONDeserializer(), JSONLinesDeserializer()


def invoke(serializer, deserializer, data):
    """What SageMaker's predictor does: serialize, send, deserialize."""
    headers = {"Content-Type": serializer.CONTENT_TYPE, "Accept": ", ".join(deserializer.ACCEPT)}
    answer = requests.post(f"{url}/invocations", data=serializer.serialize(data), headers=headers, timeout=30)
    answer.raise_for_status()
    return deserializer.deserialize(io.BytesIO(answer.content), answer.headers["Content-Type"])


def late(predictions: list) -> float:
    """The probability of the last prediction."""
    return predictions[-1]["probabilities"]["late"]


began = time.perf_counter()
pinged = requests.get(f"{url}/ping", timeout=2).status_code == 200
csv, lines, as_json = CSVSerializer(), JSONLinesSerializer(), JSONSerializer()
frame = pd.DataFrame([row, row])
missing = frame.assign(distance=np.nan, departs=None)
exchanges = {
    "ping": pinged and time.perf_counter() - began < 2,
    "csv of a list": float(invoke(csv, csv_out, values)[-1][2]),
    "csv of lists": float(invoke(csv, csv_out, [values, values])[-1][2]),
    "csv of a frame": float(invoke(csv, csv_out, frame)[-1][2]),
    "csv of a frame with missing values": float(invoke(csv, csv_out, missing)[-1][2]),
    "csv in, json out": late(invoke(csv, json_out, frame)["predictions"]),
    "json of a frame's lists": late(invoke(as_json, json_out, frame.to_numpy().tolist())["predictions"]),
    "json of instances": late(invoke(as_json, json_out, {"instances": [{"features": values}]})["predictions"]),
    "json in, csv out": float(invoke(as_json, csv_out, {"instances": [row, row]})[-1][2]),
    "json lines of objects": late(invoke(lines, lines_out, [row, row])),
    "json lines of features": late(invoke(lines, lines_out, [{"features": values}])),
}
print(json.dumps(exchanges))
