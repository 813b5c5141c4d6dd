"""The command line: what it prints, what it returns, and what it refuses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import typer

import rowcast
from rowcast.cli.app import app
from rowcast.models.durations import seconds as seconds_of
from rowcast.models.errors import ConfigError
from rowcast.models.repository import Repository
from tests.loadtest.stub import serving as served
from tests.support import handmade, tables
from tests.support.command import run

COMMANDS = (
    *("init", "look", "train", "crossvalidate", "tune", "evaluate", "importance", "report", "predict", "serve", "demo"),
    *("models list", "models show", "models compare", "models verify", "models remove"),
    *("loadtest check", "loadtest search", "loadtest plan", "loadtest report"),
    *("models promote", "models status"),
)
ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path(sys.executable).parent / "rowcast"
FAST = ("--epochs", "2", "--set", "network.members=2", "--set", "network.layers=[16]")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    tables.every_kind().drop("class").write_csv(folder / "My Table.csv")
    return folder


@pytest.fixture(scope="module")
def summary(home):
    """What `train --json` says of a model trained once for this module."""
    table, repository = home / "My Table.csv", home / "repository"
    command = [sys.executable, "-m", "rowcast", "train", table, "--target", "amount", "--repository", repository]
    done = subprocess.run([*command, *FAST, "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_train_prints_the_summary_as_the_last_line_of_stdout(summary, home):
    assert list(summary) == [
        *("name", "version", "path", "task", "rows", "metrics", "parity", "decisions", "seconds", "epochs"),
        *("stopped", "report"),
    ]
    assert (summary["name"], summary["version"], summary["task"]) == ("my-table", 1, "regression")
    assert summary["path"] == str(home / "repository" / "my-table" / "1")
    assert summary["rows"] == {"train": 256, "validation": 64, "test": 80}
    assert (summary["epochs"], summary["stopped"]) == (2, "epochs")
    assert all(isinstance(value, float) for value in summary["metrics"]["test"].values())


def test_evaluate_measures_the_model_on_a_table(summary, home, capfd):
    code, out, _ = run(
        capfd, "evaluate", "my-table", home / "My Table.csv", "--repository", home / "repository", "--json"
    )
    result = json.loads(out.splitlines()[-1])
    assert code == 0
    assert result["rows"] == 400
    assert set(result["metrics"]) == {"rmse", "mae", "r2"}
    assert result["decisions"][-1].startswith("this is the table that my-table:1 was trained on, and it has learned")


def test_crossvalidate_measures_every_fold_and_publishes_nothing(home, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(
        capfd, "crossvalidate", home / "My Table.csv", "--target", "amount", "--folds", "3", *FAST, "--json"
    )
    result = json.loads(out.splitlines()[-1])
    assert code == 0, err
    assert [set(fold) for fold in result["folds"]] == [{"rmse", "mae", "r2"}] * 3
    assert result["mean"]["rmse"] == pytest.approx(sum(fold["rmse"] for fold in result["folds"]) / 3)
    assert result["deviation"]["rmse"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_predict_writes_rows_in_order_with_kept_columns(summary, home, tmp_path, capfd, extension):
    out = tmp_path / f"answers.{extension}"
    code, _, err = run(
        capfd,
        *("predict", "my-table:1", home / "My Table.csv", "--out", out, "--keep", "count,amount"),
        *("--repository", home / "repository"),
    )
    frame = pl.read_csv(out) if extension == "csv" else pl.read_parquet(out)
    assert code == 0, err
    assert frame.columns == ["count", "amount", "prediction", "lower", "upper"]
    assert frame["count"].cast(pl.Int64).to_list() == tables.every_kind()["count"].to_list()
    assert [entry.name for entry in tmp_path.iterdir()] == [out.name]


def test_the_repository_is_the_one_of_the_env_file(summary, home, tmp_path, monkeypatch, capfd):
    def listed(*options):
        code, out, _ = run(capfd, "models", "list", "--json", *options)
        assert code == 0
        return json.loads(out.splitlines()[-1])["repository"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROWCAST_REPOSITORY", raising=False)
    (tmp_path / ".env").write_text("ROWCAST_REPOSITORY=of-the-file\n")
    assert listed() == str(tmp_path / "of-the-file")
    monkeypatch.setenv("ROWCAST_REPOSITORY", "of-the-environment")
    assert listed() == str(tmp_path / "of-the-environment")
    assert listed("--repository", "of-the-line") == str(tmp_path / "of-the-line")


AS_JSON = {
    "look": "{table} --target amount",
    "train": "{table} --target amount --repository {new} {fast}",
    "pretrain": "{table} --drop amount --repository {new} {fast}",
    "crossvalidate": "{table} --target amount --folds 2 --out {new}/out.csv {fast}",
    "tune": "{table} --target amount --trials 1 --out {new}/best.toml --repository {new} {fast}",
    "evaluate": "my-table {table} --by city {repository}",
    "importance": "my-table {table} --repeats 1 {repository}",
    "report": "my-table {table} --out {new}/report.html {repository}",
    "predict": "my-table {table} --out {new}/out.csv {repository}",
    "models list": "{repository}",
    "models show": "my-table {repository}",
    "models promote": "my-table {repository}",
    "models status": "my-table {repository}",
    "models alias": "my-table champion {repository}",
    "rollout": "my-table:1 --promote {repository}",
    "models compare": "my-table my-table {table} {repository}",
    "models verify": "my-table {repository}",
    "loadtest check": "--url {url} --rate 50 --p99-ms 5000 --duration 0.2s",
    "loadtest search": "--url {url} --p99-ms 0.01 --duration 0.1s --from 50",
    "loadtest report": "--url {url} --out {new}/load.html --duration 0.05s --rate 50",
}
"""What each command that takes --json is given."""
MINUTES = {"loadtest plan"}
"""What takes minutes, and is not tried here."""


def test_every_command_that_takes_json_is_tried():
    def commands(group, before=""):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from commands(command, f"{before}{name} ")
            elif any("--json" in option.opts for option in command.params):
                yield f"{before}{name}"

    assert sorted(commands(typer.main.get_command(app))) == sorted({*AS_JSON, *MINUTES})


@pytest.mark.parametrize("command", AS_JSON)
def test_with_json_stdout_is_the_object_alone(command, summary, home, tmp_path, capfd):
    table, repository = tmp_path / "table.csv", f"--repository {home / 'repository'}"
    tables.every_kind(100).drop("class").write_csv(table)
    fast = "--epochs 1 --set network.members=1 --set network.layers=8"
    with served() if command.startswith("loadtest") else nullcontext(SimpleNamespace(url="")) as service:
        given = AS_JSON[command].format(table=table, repository=repository, new=tmp_path, fast=fast, url=service.url)
        code, out, err = run(capfd, *command.split(), *given.split(), "--json")
    assert code in ((0, 1, 3) if command.startswith("loadtest") else (0,)), err  # a busy machine may break the promise
    assert out.count("\n") == 1
    assert isinstance(json.loads(out), dict)


def test_what_others_wrote_into_a_repository_reaches_no_terminal_as_a_command(tmp_path, capfd):
    evil = "\x1b[2J\x9bm\u202e\r\nrowcast: all is well"
    column = handmade.COLUMNS[0].model_copy(update={"name": f"c{evil}"})
    signature = handmade.BINARY.model_copy(update={"target": f"t{evil}", "columns": (column,)})
    metrics = {f"part{evil}": {f"name{evil}": evil, "nested": {"a": [1]}, "auc": 0.5}, "no table": evil}
    told = handmade.manifest(signature) | {"metrics": metrics, "decisions": [f"decided{evil}"]}
    repository = Repository(tmp_path)
    path = repository.publish("flights", told, {"model.onnx": b"no graph"}).path
    (tmp_path / f"name{evil.replace('/', '')}" / "1").mkdir(parents=True)
    said = ""
    for arguments in (("show", "flights"), ("list",), ("show", "flights", "--json"), ("verify", "flights")):
        _, out, err = run(capfd, "models", *arguments, "--repository", tmp_path)
        said += out + err
    (path / f"undeclared{evil}").write_text("")
    code, out, err = run(capfd, "models", "show", "flights", "--repository", tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    for text in (said + out + err).split("\n"):
        assert text.isprintable(), text
        assert not text.startswith("rowcast: all is well")
    assert r"decided\x1b[2J\x9bm\u202e\r\nrowcast: all is well" in said
    assert "auc 0.5" in said


@pytest.mark.parametrize("version", ["0", "01", "1" * 5000, "1000000000", "x", "", "²"])
def test_a_version_that_none_can_have_is_wrong_usage(version, tmp_path, capfd):
    code, _, err = run(capfd, "models", "show", f"flights:{version}", "--repository", tmp_path)
    assert code == 2
    assert "a model is NAME, NAME@ALIAS or NAME:VERSION with a whole number from 1 to 999,999,999, got 'flights:" in err


def test_models_are_listed_shown_verified_and_removed(summary, home, tmp_path, capfd):
    repository = tmp_path / "copy"
    frame = tables.every_kind(100)
    for _ in range(2):
        rowcast.fit(frame, target="class", name="m", repository=repository, **tables.QUICK)
    code, out, _ = run(capfd, "models", "list", "--repository", repository, "--json")
    (listed,) = json.loads(out.splitlines()[-1])["models"]
    assert (code, listed["name"], listed["versions"]) == (0, "m", [1, 2])
    code, out, _ = run(capfd, "models", "show", "m:1", "--repository", repository, "--json")
    assert (code, json.loads(out.splitlines()[-1])["version"]) == (0, 1)
    code, out, _ = run(capfd, "models", "verify", "m", "--repository", repository)
    assert (code, "m:2 is what was published" in out) == (0, True)
    assert run(capfd, "models", "remove", "m:1", "--repository", repository) == (0, "removed m:1\n", "")
    code, _, err = run(capfd, "models", "remove", "m", "--repository", repository)
    assert (code, "say which version" in err) == (2, True)
    (repository / "m" / "2" / "model.onnx").write_bytes(b"changed")
    code, _, err = run(capfd, "models", "verify", "m", "--repository", repository)
    assert (code, "SHA-256 differs" in err) == (1, True)


def test_init_prints_a_config_that_train_takes(home, tmp_path, capfd):
    code, out, _ = run(capfd, "init", home / "My Table.csv", "--target", "amount")
    assert code == 0
    assert "'amount' makes this a regression task" in out
    (tmp_path / "c.toml").write_text(out)
    code, out, err = run(
        capfd,
        *("train", home / "My Table.csv", "--config", tmp_path / "c.toml", *FAST),
        *("--repository", tmp_path / "r", "--name", "from-toml", "--json"),
    )
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["name"] == "from-toml"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command, capfd):
    code, out, _ = run(capfd, *command.split(), "--help")
    assert code == 0
    assert f"Example: rowcast {command}" in " ".join(out.split())
    assert run(capfd, *command.split(), "-h") == (0, out, "")


def test_the_version_is_that_of_the_package(capfd):
    assert run(capfd, "--version") == (0, f"rowcast {rowcast.__version__}\n", "")
    assert rowcast.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_a_shell_completes_commands_and_options(monkeypatch, capfd):
    completion = {"_ROWCAST_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    for words, found in (
        ("rowcast mod", "models"),
        ("rowcast models ver", "verify"),
        ("rowcast train --tar", "--target"),
    ):
        variables = completion | {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = subprocess.run([SCRIPT], env={**os.environ, **variables}, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.split(), done.stderr) == (0, [found], "")


@pytest.mark.parametrize(
    ("arguments", "code", "fragments"),
    [
        (["train", "TABLE"], 2, ["--target"]),
        (["train", "TABLE", "--target", "amonut"], 1, ["amonut", "did you mean 'amount'"]),
        (["train", "absent.csv", "--target", "y"], 1, ["absent.csv"]),
        (["train", "TABLE", "--target", "amount", "--preset", "huge"], 2, ["preset", '"quick"']),
        (["train", "TABLE", "--target", "amount", "--budget", "soon"], 2, ["60s or 30m", "'soon'"]),
        (["train", "TABLE", "--target", "amount", "--set", "network.members=99"], 2, ["network.members", "at most 64"]),
        (
            ["train", "absent.csv", "--target", "y", "--task", "regression", "--set", "objective.loss=focal"],
            2,  # and not 1: the table is not looked for
            ["'objective.loss' must be auto or mse or mae or huber or pinball", "'focal'"],
        ),
        (["train", "absent.csv", "--target", "y", "--set", "objective.quantile=0.9"], 2, ["objective.loss=pinball"]),
        (["train", "TABLE", "--target", "amount", "--drop", "nope"], 1, ["--drop", "'nope'"]),
        (["train", "TABLE", "--target", "amount", "--rename", "x"], 2, ["old=new"]),
        (["train", "TABLE", "--target", "amount", "--name", "No!"], 2, ["a-z, 0-9", "--name"]),
        (["train", "TABLE", "--target", "amount", "--device", "cuda:99"], 1, ["cuda:99 was demanded"]),
        (["train", "TABLE", "--target", "amount", "--epochs", "0"], 2, ["fit.epochs", "at least 1"]),
        (["train", "TABLE", "--target", "amount", "--repository", "TABLE"], 1, ["is a file", "--repository"]),
        (["train", "TABLE", "--nonsense"], 2, ["--nonsense"]),
        (["predict", "my-table", "TABLE", "--out", "answers.xlsx"], 2, [".csv, .parquet or .jsonl"]),
        (["predict", "nobody", "TABLE", "--out", "answers.csv"], 1, ["no model 'nobody'", "my-table"]),
        (["evaluate", "my-table:x", "TABLE"], 2, ["NAME:VERSION"]),
        (["serve", "--repository", "empty"], 1, ["rowcast train TABLE"]),
        (["train", "TABLE", "--target", "amount", "--device", "gpu"], 2, ["auto, cpu, cuda or cuda:N, got 'gpu'"]),
        (["frobnicate"], 2, ["frobnicate"]),
    ],
)
def test_a_wrong_call_says_so_in_a_line_or_two_and_names_the_way_out(
    summary, home, tmp_path, monkeypatch, capfd, arguments, code, fragments
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROWCAST_REPOSITORY", str(home / "repository"))
    given = [str(home / "My Table.csv") if argument == "TABLE" else argument for argument in arguments]
    ended, _, err = run(capfd, *given)
    assert ended == code, err
    assert "Traceback" not in err
    for fragment in fragments:
        assert fragment in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "t.csv", "--seed", "abc"), "--seed must be a whole number, got 'abc'"),
        (("train", "t.csv", "--epochs", "1.5"), "--epochs must be a whole number, got '1.5'"),
        (("serve", "--port", "0"), "--port must be at least 1, got '0'"),
        (("serve", "--port", "65536"), "--port must be at most 65535, got '65536'"),
        (("loadtest", "check", "--url", "u", "--rate", "fast"), "--rate must be a number, got 'fast'"),
        (("train",), "TABLE is needed: `rowcast train --help` shows what it takes"),
        (("predict", "m", "t.csv"), "--out is needed: `rowcast predict --help` shows what it takes"),
        (("train", "t.csv", "--target"), "--target needs a value, got none"),
        (
            ("train", "t.csv", "--sede", "1"),
            "there is no option --sede (did you mean --seed?): `rowcast train --help` shows what it takes",
        ),
        (("train", "a.csv", "b.csv"), "there are too many arguments, beginning with b.csv: `rowcast train --help` "),
        (("trian",), "there is no command 'trian' (did you mean train?): `rowcast --help` shows what it takes"),
        (("models", "lst"), "there is no command 'lst' (did you mean list?): `rowcast models --help` shows what it "),
    ],
)
def test_wrong_usage_is_one_line_as_every_other_error(arguments, sentence, capfd):
    code, out, err = run(capfd, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"rowcast: {sentence}")


def test_a_mistake_of_ours_is_a_line_and_its_trace_is_there_to_ask_for(monkeypatch, capfd):
    def broken(*_):
        raise ZeroDivisionError("division by zero\nsecond line")

    monkeypatch.setattr(Repository, "names", broken)
    code, out, err = run(capfd, "models", "list")
    assert (code, out) == (1, "")
    assert err == (
        "rowcast: something went wrong that should not have, ZeroDivisionError: division by zero; "
        "--debug shows the trace\n"
    )


def test_a_full_disk_is_named_without_a_file_it_does_not_have(monkeypatch, capfd):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Repository, "names", full)
    assert run(capfd, "models", "list") == (1, "", "rowcast: No space left on device\n")


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path, capfd):
    table = tables.every_kind(100).select("amount", pl.lit(1).alias("[/b]"), pl.lit(2).alias(":cat:"), "size")
    table.write_csv(tmp_path / "m.csv")
    arguments = ("train", tmp_path / "m.csv", "--target", "amount", "--repository", tmp_path / "r", *FAST)
    code, out, err = run(capfd, *arguments)
    assert code == 0, err
    assert out.splitlines()[-1] == f"published m:1 in {tmp_path / 'r' / 'm' / '1'}", "results are on stdout"
    assert "  validation rmse " in out
    assert "published" not in err
    assert "'[/b]' is dropped: it is constant" in err
    assert "':cat:' is dropped: it is constant" in err


def test_the_demo_notices_a_taken_port_before_it_trains(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = run(capfd, "demo", "--port", taken.getsockname()[1])
    assert code == 1
    assert "choose another --port" in err
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_trace(tmp_path, capfd):
    code, _, err = run(capfd, "train", tmp_path / "absent.csv", "--target", "y", "--debug")
    assert code == 1
    assert "Traceback" in err


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("1.5s", 1.5), ("30m", 1800), ("2h", 7200)])
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-3", "60x", "1m30s", "inf"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigError, match="60s or 30m"):
        seconds_of(text)


def test_the_python_api_fits_predicts_evaluates_and_loads(tmp_path):
    frame = tables.every_kind(200)
    model = rowcast.fit(frame, target="class", repository=tmp_path, **tables.QUICK)
    answers = model.predict(frame, keep=["count"])
    assert answers.columns == ["count", "label", "probability_large", "probability_small"]
    assert (repr(model), list(tmp_path.iterdir())) == ("<rowcast.Model not published binary>", [])
    assert repr(model.publish("model")) == "<rowcast.Model model:1 binary>"
    assert rowcast.load("model", repository=tmp_path).predict(frame)["label"].to_list() == answers["label"].to_list()
    assert model.evaluate(frame)["accuracy"] > 0.4


def test_look_prints_a_table_or_one_json_object_and_trains_nothing(home, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capfd, "look", home / "My Table.csv", "--target", "amount", "--drop", "size", "--json")
    found = json.loads(out.splitlines()[-1])
    assert (code, err) == (0, "")
    assert found["rows"] == 400
    assert [column["name"] for column in found["columns"]] == ["count", "member", "city", "when", "amount"]
    code, out, _ = run(capfd, "look", home / "My Table.csv", "--category", "count", "--set", "seed=1")
    assert code == 0
    assert out.startswith("400 rows, 6 columns\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "said"),
    [("there", "must name a file, got the folder"), ("a.csv/b.csv", "must name a file in a folder, got")],
)
def test_a_table_that_cannot_be_written_is_told_before_the_fits(tmp_path, capfd, out, said):
    (tmp_path / "there.csv").mkdir()
    (tmp_path / "a.csv").write_text("x,y\n" + "1,2\n3,4\n" * 20)
    out = "there.csv" if out == "there" else out
    code, _, err = run(capfd, "crossvalidate", tmp_path / "a.csv", "--target", "y", "--out", tmp_path / out)
    assert code == 2
    assert err.startswith(f"rowcast: --out {said} ")
    assert [file.name for file in sorted(tmp_path.rglob("*"))] == ["a.csv", "there.csv"]
