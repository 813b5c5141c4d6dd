"""How long a body is decoded in one go follows from what its texts take."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rowcast.models.reading import NumberForm, Reading
from rowcast.models.repository import Repository
from rowcast.service.engine.registry import Registry
from rowcast.service.http.handlers import TakesLong
from rowcast.service.http.reply import Reply
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.settings import Settings
from tests.support import handmade


def registry_of(folder: Path, **fields: object) -> Registry:
    """A model with one column changed."""
    signature = handmade.BINARY
    first = next(i for i, column in enumerate(signature.columns) if column.kind == "number")
    columns = list(signature.columns)
    columns[first] = columns[first].model_copy(update=fields)
    changed = signature.model_copy(update={"columns": tuple(columns)})
    Repository(folder).publish("flights", handmade.manifest(changed), {"model.onnx": handmade.graph(changed)})
    return Registry(Settings(repository=folder, device="cpu"))


@pytest.mark.parametrize(
    ("fields", "small"), [({}, 2**16), ({"reading": Reading(number=NumberForm(affixes=("$",)))}, 2**13)]
)
def test_bodies_whose_texts_are_read_one_by_one_are_small_up_to_8_kib(
    tmp_path: Path, fields: dict[str, object], small: int
) -> None:
    async def scenario() -> None:
        registry = registry_of(tmp_path, **fields)
        await registry.start()
        try:
            endpoint = RowsEndpoint(registry.models["flights"])
            told: list[Reply] = []
            assert endpoint.at_once_bytes == small
            with pytest.raises(TakesLong):
                endpoint.handle(b"x" * (small + 1), told.append)
            assert told == []
        finally:
            registry.stop()

    asyncio.run(scenario())
