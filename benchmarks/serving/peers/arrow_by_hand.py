"""By hand: Starlette, pyarrow and ONNX Runtime. No validation, no batching, no metrics."""

# mypy: ignore-errors
import numpy as np
import pyarrow as pa
import uvicorn
from onnx_rows import CLASSES, COLUMNS, MISSING_TIMESTAMP, PORT, session
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

SCHEMA = pa.schema([("label", pa.utf8()), *((f"probability_{name}", pa.float32()) for name in CLASSES)])


def column(kind, values):
    """The graph input of an Arrow column."""
    if kind == "category":
        return values.fill_null("").to_numpy().reshape(-1, 1)
    if kind == "timestamp":
        return values.cast(pa.int64()).fill_null(MISSING_TIMESTAMP).to_numpy().reshape(-1, 1)
    return values.to_numpy().astype(np.float64, copy=False).reshape(-1, 1)  # null becomes NaN


async def predict(request):
    table = pa.ipc.open_stream(await request.body()).read_all()
    inputs = {name: column(kind, table[name]) for name, kind in COLUMNS}
    labels, probabilities = session.run(["label", "probabilities"], inputs)
    arrays = [pa.array(labels[:, 0], pa.utf8()), *map(pa.array, np.ascontiguousarray(probabilities.T))]
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, SCHEMA) as writer:
        writer.write_batch(pa.record_batch(arrays, SCHEMA))
    return Response(out.getvalue().to_pybytes(), media_type="application/vnd.apache.arrow.stream")


async def ready(request):
    return Response()


app = Starlette(routes=[Route("/models/flights/predict", predict, methods=["POST"]), Route("/ready", ready)])

if __name__ == "__main__":
    uvicorn.run(app, port=PORT, loop="uvloop", http="httptools", log_level="warning", access_log=False)
