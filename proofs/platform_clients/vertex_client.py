"""Vertex AI's local endpoint, which asks a container as the platform does; here the container runs already."""

from __future__ import annotations

import json
import sys

from google.cloud.aiplatform.prediction import LocalEndpoint

row = json.load(sys.stdin)
endpoint = LocalEndpoint(
    "rowcast", serving_container_predict_route="/predict", serving_container_health_route="/health"
)
endpoint.container_is_running = True
endpoint.assigned_host_port = int(sys.argv[1])
JSON = {"Content-Type": "application/json"}


def late(request: dict, headers: dict | None = None) -> float:
    """The probability of the last prediction."""
    answer = endpoint.predict(request=json.dumps(request), headers=headers)
    answer.raise_for_status()
    return answer.json()["predictions"][-1]["probabilities"]["late"]


refused = endpoint.predict(request=json.dumps({"instances": [{**row, "stops": 1.5}]}), headers=JSON)
exchanges = {
    "run_health_check": endpoint.run_health_check().status_code == 200,
    "objects": late({"instances": [row, row]}, JSON),
    "lists": late({"instances": [list(row.values())]}, JSON),
    "without a content type": late({"instances": [row]}),
    "with parameters of nothing": late({"instances": [row], "parameters": {}}, JSON),
    "a refusal": refused.status_code == 400
    and refused.json()["error"].startswith("instances[0].stops: must be a whole"),
}
endpoint.container_is_running = False
print(json.dumps(exchanges))
