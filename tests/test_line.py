"""The whole line on one table: trained, published, served, and the same answer at every station."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error

import numpy as np
import polars as pl
import pytest

import rowcast
from tests.support import bare, tables
from tests.support.serving import ask, served

ADVERSARIAL = {
    "size": [None, 1e38, -1e38, 0, 5e-324],
    "count": [None, 1e38, -1e38, 3.0, -7],
    "member": [None, True, False],
    "city": [None, "", "never seen", "Rome"],
    "when": [None, "1900-01-01", "2262-01-01T00:00:00Z", "1970-01-01", "2021-05-05T05:05:05.5+02:00"],
}


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A model of a table with every kind of column, the address of its service, and what `rowcast serve` printed."""
    home = tmp_path_factory.mktemp("line")
    model = rowcast.fit(
        tables.every_kind(600).drop("amount"), target="class", name="line", repository=home / "r", **tables.QUICK
    )
    with served(home / "r", home) as (url, greeting):
        yield model, url, greeting


def adversarial_rows(typical):
    rows = [typical | {name: value} for name, values in ADVERSARIAL.items() for value in values]
    return [*rows, dict.fromkeys(ADVERSARIAL), {name: values[1] for name, values in ADVERSARIAL.items()}]


def test_the_greeting_holds_a_curl_that_works_as_pasted(line):
    *_, command = [text for text in line[2].splitlines() if text.startswith("curl ")]
    done = subprocess.run(["bash", "-c", f"{command} --silent --fail"], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert list(answer) == ["model", "version", "predictions"]
    assert set(answer["predictions"][0]["probabilities"]) == {"large", "small"}


def test_raw_rows_get_the_same_answer_from_the_table_command_the_bare_runtime_and_the_service(line, tmp_path):
    model, url, _ = line
    frame = tables.every_kind(1000, seed=7).drop("amount", "class")
    rows = frame.to_dicts() + adversarial_rows(frame.drop_nulls().row(0, named=True))
    file = tmp_path / "rows.csv"
    pl.DataFrame(rows, schema_overrides={"count": pl.Float64, "size": pl.Float64}, strict=False).write_csv(file)

    outputs = bare.answer(str(model.path / "model.onnx"), str(file))
    table = model.predict(file)
    served = [answer for start in range(0, len(rows), 500) for answer in ask(url, rows[start : start + 500])]
    alone = [ask(url, [row])[0] for row in rows[-40:]]

    assert len(served) == len(rows) == len(table)
    assert [answer["label"] for answer in served] == outputs["label"][:, 0].tolist() == table["label"].to_list()
    for i, label in enumerate(model.stored.manifest.signature.classes):
        probabilities = outputs["probabilities"][:, i]
        assert np.abs([answer["probabilities"][label] for answer in served] - probabilities).max() <= 1e-6
        assert np.abs(table[f"probability_{label}"].to_numpy() - probabilities).max() <= 1e-6
        assert np.abs([answer["probabilities"][label] for answer in alone] - probabilities[-40:]).max() <= 1e-6


def test_the_service_names_the_column_that_is_wrong(line):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(line[1], [{"size": "big", "count": 1, "member": True, "city": "Rome", "when": None, "class": "large"}])
    with refused.value as error:
        body = json.load(error)
    assert error.code == 400
    assert {fault["path"] for fault in body["errors"]} == {"rows[0].size", "rows[0].class"}


def test_the_greeting_names_the_address(line):
    assert re.search(rf"Rowcast serves line on {re.escape(line[1])}", line[2])


def test_a_port_that_is_taken_is_named_with_the_way_out(line, tmp_path):
    port = line[1].rpartition(":")[2]
    model = line[0]
    done = subprocess.run(
        [sys.executable, "-m", "rowcast", "serve", "--port", port, "--repository", str(model.path.parents[1])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
