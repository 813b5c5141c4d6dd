"""Tables of every family to a real service and back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from rowcast.client import AsyncClient, Client, Refused
from tests.service.servers import Server, publish_delay, publish_flights, serving
from tests.service.test_arrow import table

FRAME = table(700)
COLUMNS = {"flights": ["label", "probability_on time", "probability_late"], "delay": ["prediction", "lower", "upper"]}
models = pytest.mark.parametrize("model", COLUMNS)
protocols = pytest.mark.parametrize("protocol", ["auto", "json", "arrow"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root: Path = tmp_path_factory.mktemp("client")
    publish_flights(root / "repository")
    publish_delay(root / "repository")
    with serving(root / "repository", root / "home") as running:
        yield running


def expected(service: Server, model: str, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """What /predict says of the rows."""
    rows = [{**row, "departs": row["departs"] and row["departs"].isoformat()} for row in frame.to_dicts()]
    return service.predict(f"/models/{model}/predict", *rows)


def flat(predictions: list[dict[str, Any]]) -> pl.DataFrame:
    """Predictions of JSON as the columns of Arrow."""
    if "prediction" in predictions[0]:
        return pl.DataFrame(predictions)
    return pl.DataFrame(
        {"label": p["label"]} | {f"probability_{name}": value for name, value in p["probabilities"].items()}
        for p in predictions
    ).cast(dict.fromkeys(COLUMNS["flights"][1:], pl.Float32))


@models
@protocols
def test_every_family_comes_back_as_itself_with_the_answers_of_predict(
    service: Server, model: str, protocol: Any
) -> None:
    predictions = expected(service, model, FRAME)
    wanted = flat(predictions)
    rows, columns = FRAME.to_dicts(), FRAME.to_dict(as_series=False)
    pandas = pd.DataFrame(columns, index=range(5, 705)).astype({"night": "boolean", "carrier": "category"})
    arrow = pa.table(columns)
    with Client(service.url, model, protocol=protocol) as client:
        assert client.predict(rows) == predictions
        assert_frame_equal(pl.DataFrame(client.predict(columns), schema=wanted.schema), wanted, abs_tol=1e-7)
        assert_frame_equal(client.predict(FRAME), wanted, abs_tol=1e-7)
        assert_frame_equal(client.predict(FRAME.lazy()), wanted, abs_tol=1e-7)
        got = client.predict(pandas)
        assert list(got.index) == list(range(5, 705))
        assert_frame_equal(pl.DataFrame(got.to_dict("list"), schema=wanted.schema), wanted, abs_tol=1e-7)
        got = client.predict(arrow)
        assert isinstance(got, pa.Table)
        assert_frame_equal(pl.DataFrame(got.to_pydict(), schema=wanted.schema), wanted, abs_tol=1e-7)


@protocols
def test_the_awaited_client_says_the_same(service: Server, protocol: Any) -> None:
    done: list[int] = []

    async def main() -> pl.DataFrame:
        async with AsyncClient(service.url, "delay:1", protocol=protocol) as client:
            answers = await asyncio.gather(*(client.predict(FRAME, progress=done.append) for _ in range(3)))
        assert answers[0].equals(answers[1])
        assert answers[0].equals(answers[2])
        return answers[0]

    assert_frame_equal(asyncio.run(main()), flat(expected(service, "delay", FRAME)))
    assert done == [700, 700, 700]


def test_a_large_table_is_sent_in_pieces_and_comes_back_in_order(service: Server) -> None:
    frame = pl.concat([FRAME] * 50)
    done: list[int] = []
    with Client(service.url, "delay") as client:
        got = client.predict(frame, progress=done.append)
        assert got.equals(pl.concat([client.predict(FRAME)] * 50))
    assert done == [16_384, 16_384, 35_000 - 2 * 16_384]


def test_rows_without_the_same_keys_are_sent_one_by_one(service: Server) -> None:
    rows = [
        {"distance": 872.0, "stops": 1, "carrier": "UA"},
        {"distance": 1, "stops": 0, "carrier": None, "night": True},
    ]
    with Client(service.url, "delay") as client:
        assert client.predict(rows * 200) == client.predict(rows) * 200


@protocols
def test_columns_that_the_model_does_not_know_are_left_out(service: Server, protocol: Any) -> None:
    frame = FRAME.head(3).with_columns(arrival=pl.lit("late"), delay=pl.lit(1.5))
    rows, columns = frame.to_dicts(), frame.to_dict(as_series=False)
    tables = (frame, frame.to_pandas(), pa.table(columns), columns, rows)

    async def awaited() -> Any:
        async with AsyncClient(service.url, "flights", protocol=protocol) as client:
            return await client.predict(frame)

    with Client(service.url, "flights", protocol=protocol) as client:
        known = client.predict(FRAME.head(3))
        assert asyncio.run(awaited()).equals(known)
        for table in tables:
            with Client(service.url, "flights", protocol=protocol) as fresh:
                for _ in range(2):  # refused and asked about once, then sent without
                    got = fresh.predict(table)
                    answers = got.to_dict("list") if isinstance(got, pd.DataFrame) else got
                    labels = [one["label"] for one in answers] if isinstance(answers, list) else list(answers["label"])
                    assert list(map(str, labels)) == known["label"].to_list()
        with pytest.raises(Refused, match="distance"):
            client.predict(frame.rename({"distance": "distnace"}))
        assert client.predict(frame).equals(known)


@protocols
def test_what_the_service_refuses_is_raised_with_its_places(service: Server, protocol: Any) -> None:
    with Client(service.url, "flights", protocol=protocol) as client:
        with pytest.raises(Refused) as caught:
            client.predict(FRAME.with_columns(stops=pl.lit(0.5)))
        assert caught.value.status == 400
        assert len(caught.value.faults) == 50
        assert caught.value.faults[0].path == ("rows[0].stops" if protocol == "json" else "columns.stops[0]")


def test_the_clients_are_there_for_the_asking() -> None:
    import rowcast

    assert (rowcast.Client, rowcast.AsyncClient) == (Client, AsyncClient)
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        rowcast.Server  # noqa: B018


def test_where_there_are_no_clients_as_in_a_bento_the_package_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import rowcast

    monkeypatch.setitem(sys.modules, "rowcast.client", None)  # as if there were no such module
    assert not hasattr(rowcast, "Client")
    with pytest.raises(AttributeError, match=r"module 'rowcast' has no attribute 'Client': .*rowcast\.client"):
        rowcast.Client  # noqa: B018
