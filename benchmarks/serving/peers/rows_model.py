"""A pydantic model of a row, built from the signature, for the frameworks that validate with one."""

# mypy: ignore-errors
from onnx_rows import SIGNATURE
from pydantic import BaseModel, ConfigDict, create_model

TYPES = {"number": float, "integer": float, "boolean": bool, "category": str, "timestamp": str}

Row = create_model(
    "Row",
    __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False),
    **{c["name"]: (TYPES[c["kind"]] | None, None if c["nullable"] else ...) for c in SIGNATURE["columns"]},
)


class Prediction(BaseModel):
    """The answer to a row."""

    label: str
    probabilities: dict[str, float]
