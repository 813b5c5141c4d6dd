"""The page that a load test ends in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from rowcast.loadtest.report.measure import curve, spread
from rowcast.loadtest.report.write import report
from rowcast.models.errors import ConfigError
from rowcast.models.page import facts_in
from tests.loadtest.stub import SHA256, Reply, serving

KEPT = {"time": "2026-11-29T00:00:00Z", "model": "flights", "version": 2, "sha256": "ab" * 32, "rowcast": "0.1.0"}


def test_a_latency_curve_has_one_nine_more_for_each_decade():
    found = curve(np.arange(1, 10_001) / 1000)
    at = dict(zip(found["one_in"], found["ms"], strict=True))
    assert (found["one_in"][0], found["one_in"][-1], found["ms"][-1]) == (1.0, 10_000.0, 10_000.0)
    assert at[10.0] == pytest.approx(9000, rel=0.001), "p90"
    assert at[100.0] == pytest.approx(9900, rel=0.001), "p99"
    assert at[1000.0] == pytest.approx(9990, rel=0.001), "p99.9"


def test_every_latency_is_in_a_bin():
    found = spread(np.array([0.001, 0.001, 0.01, 0.1]), bins=4)
    assert found["edges"][0] == pytest.approx(1.0)
    assert (len(found["edges"]), sum(found["counts"]), found["counts"][0], found["counts"][-1]) == (5, 4, 2, 1)


def test_of_nothing_there_is_no_curve():
    assert curve(np.zeros(0)) == {"one_in": [], "ms": []}
    assert spread(np.zeros(0)) == {"edges": [], "counts": []}


@pytest.mark.parametrize("said", ["", 'rate = 100000\np99_ms = 5\nduration = "1h"\n'])
def test_more_requests_than_a_client_can_hold_are_refused_before_the_sweep(tmp_path, said):
    (tmp_path / "flights").mkdir()
    if said:
        (tmp_path / "flights" / "promise.toml").write_text(said)
    with serving() as stub, pytest.raises(ConfigError, match="a run has at most 20,000,000 requests, got 100000 a sec"):
        report(stub.url, tmp_path / "load.html", repository=tmp_path, rate=None if said else 1e5, step_s=60)
    assert stub.asked == []


@pytest.mark.parametrize(
    ("said", "options", "message"),
    [
        (
            'rate = 0.1\np99_ms = 50\nduration = "2s"\n',
            {},
            "no request is due in 2 s at 0.1 a second: raise --rate or --duration",
        ),
        (
            "",
            {"rate": 0.4, "p99_ms": 5, "step_s": 0.2},
            "no request is due in 1 s at 0.4 a second: raise --rate or --duration",
        ),
        ("", {"step_s": 0.001}, "no request is due in a step of 0.001 s: raise --duration"),
    ],
)
def test_a_report_of_no_request_is_refused_before_the_sweep(tmp_path, said, options, message):
    (tmp_path / "flights").mkdir()
    if said:
        (tmp_path / "flights" / "promise.toml").write_text(said)
    with serving() as stub, pytest.raises(ConfigError) as caught:
        report(stub.url, tmp_path / "load.html", repository=tmp_path, **options)
    assert str(caught.value) == message
    assert stub.asked == []


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report of a service of 2 ms a request, with a promise that it breaks."""
    folder = tmp_path_factory.mktemp("loaded")
    promise = folder / "flights" / "promise.toml"
    promise.parent.mkdir()
    promise.write_text('rate = 60\np99_ms = 0.5\nduration = "0.3s"\n')
    promise.with_name("promise-kept.jsonl").write_text(json.dumps(KEPT) + "\n")

    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.002

    with serving(slow) as stub:
        return report(stub.url, folder / "load.html", repository=folder, step_s=0.05)


@pytest.mark.alone  # which rates hold is measured
def test_a_report_is_one_file_with_the_sweep_the_promise_the_machine_and_the_model(written):
    assert (written.exit_code, written.verdict.outcome) == (1, "broken")
    content = written.out.read_bytes()
    text = content.decode()
    assert "default-src 'none'" in text
    assert text.count("<script") == 3, "facts, library, page"
    assert "src=" not in text.replace("script-src", "").replace("style-src", "")
    facts = facts_in(content)
    assert (facts["about"]["sha256"], facts["about"]["version"]) == (SHA256, 3)
    assert set(facts["about"]["machine"]) == {"processor", "cores", "memory_gib", "system"}
    assert (facts["promise"]["rate"], facts["promise"]["p99_ms"], facts["promise"]["outcome"]) == (60, 0.5, "broken")
    rates = [point["rate"] for point in facts["sweep"]]
    assert rates == sorted(rates)
    assert rates[0] <= 50
    assert facts["whole"]["requests"] == 18
    assert facts["whole"]["curve"]["ms"][-1] == pytest.approx(facts["whole"]["max_ms"], rel=0.01)
    assert facts["kept"] == [KEPT]
    assert json.loads(written.to_json())["report"] == str(written.out)


@pytest.mark.alone
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium to open the report in")
def test_a_browser_without_a_network_draws_all_of_it(written, tmp_path):
    command = [
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--proxy-server=127.0.0.1:9"),
        *(f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom"),
    ]
    done = subprocess.run([*command, written.out.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    drawn = done.stdout.partition('<script type="application/json"')[0]
    assert "<h1>Load test of flights:3</h1>" in drawn
    assert re.findall(r"<h2>([^<]*)</h2>", drawn) == [
        *("Latency", "Throughput against latency", "Figures", "Machine and model", "Promises that were kept"),
    ]
    assert drawn.count("<canvas") >= 5


def test_where_nobody_answers_nothing_is_written(tmp_path):
    with serving() as stub:
        pass
    made = report(stub.url, tmp_path / "load.html")
    assert (made.exit_code, made.out) == (3, None)
    assert made.lines()[0].startswith(f"VOID {stub.url}: nobody answers at ")
    assert list(tmp_path.iterdir()) == []


def test_wrong_answers_leave_no_report(tmp_path):
    def wrong(n: int, reply: Reply) -> None:
        reply.predictions = []

    with serving(wrong) as stub:
        made = report(stub.url, tmp_path / "load.html", step_s=0.05)
    assert (made.exit_code, made.out) == (3, None)
    assert made.verdict.reason.startswith("wrong answers: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "--rate must be a number above 0, got 0"),
        ({"p99_ms": -2}, "--p99-ms must be a number above 0, got -2"),
        ({"step_s": 0}, "--duration must be a number above 0, got 0"),
        ({"connections": 0}, "--connections must be from 1 to 512, got 0"),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(tmp_path, options, message):
    with pytest.raises(ConfigError) as caught:
        report("http://127.0.0.1:9", tmp_path / "load.html", **options)
    assert str(caught.value) == message


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="--out must name a file, got the folder"):
        report("http://127.0.0.1:9", tmp_path)
