"""By hand: Starlette, orjson and ONNX Runtime. No validation, no batching, no metrics."""

# mypy: ignore-errors
import orjson
from onnx_rows import PORT, predict
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route


async def endpoint(request):
    rows = orjson.loads(await request.body())["rows"]
    return Response(orjson.dumps({"predictions": predict(rows)}), media_type="application/json")


async def ready(request):
    return Response()


app = Starlette(routes=[Route("/predict", endpoint, methods=["POST"]), Route("/ready", ready)])

if __name__ == "__main__":
    import uvicorn  # Granian serves the same application without it

    uvicorn.run(app, port=PORT, loop="uvloop", http="httptools", log_level="warning", access_log=False)
