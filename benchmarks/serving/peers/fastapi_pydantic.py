"""FastAPI with a pydantic model of the row, as its documentation has it."""

# mypy: ignore-errors
import uvicorn
from fastapi import FastAPI
from onnx_rows import PORT, predict
from pydantic import BaseModel
from rows_model import Prediction, Row


class Request(BaseModel):
    rows: list[Row]


class Answer(BaseModel):
    predictions: list[Prediction]


app = FastAPI()


@app.post("/predict")
async def endpoint(request: Request) -> Answer:
    return {"predictions": predict([dict(row) for row in request.rows])}


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, loop="uvloop", http="httptools", log_level="warning", access_log=False)
