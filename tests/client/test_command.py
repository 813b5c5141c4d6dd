"""`rowcast predict --url`: the same file as the offline command writes, or none."""

from __future__ import annotations

import asyncio
import doctest
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import rowcast
from rowcast.client import clients
from tests.client.conftest import stub
from tests.service.servers import Server, free_port, serving
from tests.support import tables
from tests.support.command import run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    frame = tables.every_kind()
    for target, other in (("amount", "class"), ("class", "amount"), ("member", "class")):
        rowcast.fit(frame.drop(other), target=target, name=target, repository=folder / "repository", **tables.QUICK)
    frame.write_csv(folder / "rows.csv")
    return folder


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Server]:
    with serving(home / "repository", home / "bento") as running:
        yield running


def test_labels_have_the_type_of_the_target_through_a_service_too(
    home: Path, service: Server, tmp_path: Path, capfd: Any
) -> None:
    out = tmp_path / "answers.parquet"
    code, _, err = run(capfd, "predict", "member", home / "rows.csv", "--out", out, "--url", service.url)
    assert code == 0, err
    assert pl.read_parquet(out)["label"].dtype == pl.Boolean


def test_examples_of_the_clients_give_what_they_say(service: Server) -> None:
    flags, names = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, {"asyncio": asyncio}
    runner = doctest.DocTestRunner(optionflags=flags)
    tests = [test for test in doctest.DocTestFinder().find(clients, extraglobs=names) if test.examples]
    assert [test.name.rpartition(".")[2] for test in tests] == ["AsyncClient", "Client"]
    for test in tests[::-1]:
        for example in test.examples:
            example.source = example.source.replace("http://127.0.0.1:3000", service.url)
        test.globs |= names
        assert runner.run(test, clear_globs=False).failed == 0, test.name
        names |= {"row": test.globs["row"]}


def read(file: Path) -> pl.DataFrame:
    return pl.read_csv(file) if file.suffix == ".csv" else pl.read_parquet(file)


@pytest.mark.parametrize("model", ["amount", "class:1", "member"])
@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_the_file_is_the_one_that_is_written_offline(
    model: str, extension: str, home: Path, service: Server, tmp_path: Path, capfd: Any
) -> None:
    here, there = tmp_path / f"here.{extension}", tmp_path / f"there.{extension}"
    common = (model, home / "rows.csv", "--keep", "count,city")
    code, _, err = run(capfd, "predict", *common, "--out", here, "--repository", home / "repository")
    assert code == 0, err
    code, out, err = run(capfd, "predict", *common, "--out", there, "--url", service.url, "--json")
    assert code == 0, err
    assert "wrote 400 predictions" in err
    assert json.loads(out.splitlines()[-1]) == {
        "name": model.removesuffix(":1"),
        "version": 1,
        "rows": 400,
        "out": str(there),
    }
    expected, got = read(here), read(there)
    assert got.schema == expected.schema
    floats = [name for name, dtype in expected.schema.items() if dtype.is_float()]
    assert got.drop(floats).equals(expected.drop(floats))
    assert (got.select(floats) - expected.select(floats)).select(pl.all().abs().max()).row(0) < (1e-6,) * len(floats)
    assert sorted(file.name for file in tmp_path.iterdir()) == [here.name, there.name]


@pytest.mark.parametrize("model", ["amount", "class", "member"])
def test_a_table_of_no_rows_is_answered_as_offline(
    model: str, home: Path, service: Server, tmp_path: Path, capfd: Any
) -> None:
    here, there, table = tmp_path / "here.parquet", tmp_path / "there.parquet", tmp_path / "t.csv"
    table.write_text((home / "rows.csv").read_text().partition("\n")[0])
    for out, where in ((here, ("--repository", home / "repository")), (there, ("--url", service.url))):
        code, said, err = run(capfd, "predict", model, table, "--keep", "count", "--out", out, *where)
        assert (code, said) == (0, f"wrote 0 predictions to {out}\n"), err
    assert read(there).equals(read(here))
    assert read(there).schema == read(here).schema


def test_what_goes_wrong_is_a_line_and_leaves_no_file(home: Path, service: Server, tmp_path: Path, capfd: Any) -> None:
    out, table = tmp_path / "out.csv", home / "rows.csv"
    (tmp_path / "lacks.csv").write_text("size\n1\n")
    with stub((500, {}, b'{"error": "the model could not answer these rows"}')) as failing:
        for code, words, arguments in (
            (1, "several models are served, amount, class, member: say which", (table, "--url", service.url)),
            (1, "no answer from http://127.0.0.1:", (table, "--url", f"http://127.0.0.1:{free_port()}")),
            (1, "there is no such model or route", ("none", table, "--url", service.url)),
            (1, "lacks.csv lacks 'count'", ("amount", tmp_path / "lacks.csv", "--url", service.url)),
            (1, "--keep names 'x'; columns: size", ("amount", table, "--url", service.url, "--keep", "x")),
            (1, "--keep names 'y'", ("amount", table, "--url", service.url, "--keep", "y")),
            (2, "the arguments are --url U [NAME[:VERSION]] TABLE, got a b c", ("a", "b", "c", "--url", "x")),
            (2, "the arguments are NAME[:VERSION] TABLE, got amount", ("amount",)),
        ):
            got, _, err = run(capfd, "predict", *arguments, "--out", out)
            assert (got, words in err) == (code, True), err
            assert "Traceback" not in err
        got, _, err = run(capfd, "predict", "m", table, "--out", out, "--url", failing.url)
        assert (got, err.splitlines()[-1]) == (1, "rowcast: the model could not answer these rows")
    assert [file.name for file in tmp_path.iterdir()] == ["lacks.csv"]


def test_a_table_whose_version_goes_before_its_last_row_is_predicted_by_the_next_as_a_whole(
    home: Path, tmp_path: Path, capfd: Any
) -> None:
    about = rowcast.load(home / "repository" / "amount" / "1").signature.model_dump(mode="json")

    def described(version: int) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({"name": "m", "version": version, "signature": about}).encode()

    def answered(version: int) -> tuple[int, dict[str, str], bytes]:
        row = {"prediction": float(version), "lower": 0.0, "upper": 9.0}
        return 200, {}, json.dumps({"model": "m", "version": version, "predictions": [row] * 400}).encode()

    gone = (404, {}, b'{"error": "no version 1 of m is served"}')
    out = tmp_path / "out.csv"
    with stub(described(1), gone, described(2), answered(2)) as service:
        code, said, err = run(capfd, "predict", "m", home / "rows.csv", "--out", out, "--url", service.url, "--json")
    assert (code, json.loads(said.splitlines()[-1])["version"]) == (0, 2), err
    assert "no version 1 of m is served: m:2 is served now, and predicts the whole table\n" in err
    assert read(out)["prediction"].to_list() == [2.0] * 400
    with stub(described(1), gone, described(1)) as service:  # it is there, and the route is not
        code, _, err = run(capfd, "predict", "m", home / "rows.csv", "--out", out, "--url", service.url)
    assert (code, err.splitlines()[-1]) == (1, "rowcast: no version 1 of m is served")


@pytest.mark.parametrize(
    ("variable", "url", "code", "words"),
    [
        ("hunter2\n", "{url}", 1, "[API key] is no key"),
        ("hunter2", "{url}/?a", 2, "an address must hold no query"),
        ("hunter2", "http://[::1", 2, "an address must be http://HOST:PORT"),
        ("hunter2", "http://user:hunter2@127.0.0.1:9", 2, "an address must hold no user or password"),
        ("", "{url}", 2, "an API key must be printable ASCII, got an empty one"),
        ("hunter2\nX: y", "{url}", 2, "an API key must be printable ASCII without spaces"),
        ("hünter2", "{url}", 2, "an API key must be printable ASCII without spaces"),
    ],
)
def test_neither_a_key_nor_a_password_is_printed(
    variable: str, url: str, code: int, words: str, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWCAST_API_KEY", variable)
    (tmp_path / "rows.csv").write_text("x\n1\n")
    with stub((401, {}, b'{"error": "hunter2 is no key"}')) as service:
        arguments = (tmp_path / "rows.csv", "--url", url.format(url=service.url), "--out", tmp_path / "out.csv")
        got, out, err = run(capfd, "predict", *arguments)
        assert (got, words in err) == (code, True), err
        assert "unter2" not in out + err
        assert [headers["authorization"] for _, headers, _ in service.heard] == ["Bearer hunter2"] * (code == 1)


def test_a_service_of_another_kind_is_told(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROWCAST_API_KEY", raising=False)
    (tmp_path / "rows.csv").write_text("x\n1\n")
    for body, words in (
        (b"<html>", "is this a Rowcast service?"),
        (b'{"name":"m","version":1,"signature":{"task":"regression"}}', "the model's signature cannot be read"),
        (b'{"name":"m\\n","version":1,"signature":{}}', "the model's signature cannot be read"),
    ):
        with stub((200, {}, body)) as service:
            table, out = tmp_path / "rows.csv", tmp_path / "out.csv"
            got, _, err = run(capfd, "predict", table, "--url", service.url, "--out", out)
        assert (got, words in err, "Traceback" in err) == (1, True, False), err


def test_columns_that_the_model_does_not_know_are_left_out(
    home: Path, service: Server, tmp_path: Path, capfd: Any
) -> None:
    frame = pl.read_csv(home / "rows.csv").with_columns(stranger=pl.lit("x"))
    frame.write_csv(tmp_path / "more.csv")
    out = tmp_path / "out.csv"
    code, _, err = run(capfd, "predict", "amount", tmp_path / "more.csv", "--out", out, "--url", service.url)
    assert (code, len(read(out))) == (0, 400), err
