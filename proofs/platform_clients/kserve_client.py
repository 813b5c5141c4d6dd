"""KServe's own client, in its V1 protocol."""

from __future__ import annotations

import asyncio
import json
import sys

import httpx
from kserve import InferenceRESTClient, RESTConfig

row = json.load(sys.stdin)
url = f"http://127.0.0.1:{sys.argv[1]}"


def late(answer: dict) -> float:
    """The probability of the last prediction."""
    return answer["predictions"][-1]["probabilities"]["late"]


async def refusal(client: InferenceRESTClient) -> str:
    """What the client says of a wrong row."""
    try:
        await client.infer(url, {"instances": [{**row, "distance": "far"}]}, model_name="flights")
    except httpx.HTTPStatusError as error:
        return str(error)
    return ""


async def main() -> dict:
    """Ask everything that the protocol knows."""
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    try:
        return {
            "is_server_live": await client.is_server_live(url),
            "is_model_ready": await client.is_model_ready(url, "flights"),
            "objects": late(await client.infer(url, {"instances": [row, row]}, model_name="flights")),
            "lists": late(await client.infer(url, {"instances": [list(row.values())]}, model_name="flights")),
            "inputs": late(await client.infer(url, {"inputs": [row]}, model_name="flights")),
            "a refusal": (await refusal(client)).startswith("instances[0].distance: must be a number or null"),
        }
    finally:
        await client.close()


print(json.dumps(asyncio.run(main())))
