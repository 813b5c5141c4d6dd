"""``rowcast loadtest plan`` where there is nothing to measure: the reason is in the JSON, whatever it is."""

from __future__ import annotations

import json

import pytest

from tests.service.live.versions import publish
from tests.support.command import run


def refused(capfd, repository, *options: str) -> str:
    """The reason that is told in JSON and as the error."""
    plan = ("loadtest", "plan", "--rate", "10", "--p99-ms", "10", "--repository", repository, "--json", *options)
    code, out, err = run(capfd, *plan)
    told = json.loads(out)
    assert (code, told["exit_code"]) == (1, 1)
    assert (told["rate"], told["p99_ms"], told["workers"], told["validated"]) == (10.0, 10.0, None, False)
    assert err.splitlines()[-1] == f"rowcast: {told['reason']}"
    return told["reason"]


@pytest.mark.parametrize("model", ["nope", "flights:7", "flights@old"])
def test_a_model_that_is_not_there(capfd, tmp_path, model):
    publish(tmp_path, 1.0)
    assert model.partition(":")[0].partition("@")[0] in refused(capfd, tmp_path, "--model", model)


def test_no_model_at_all(capfd, tmp_path):
    assert refused(capfd, tmp_path) == f"a plan is for one model, and {tmp_path} holds none: choose one with --model"


def test_a_service_that_does_not_start(capfd, tmp_path):
    published = publish(tmp_path, 1.0)
    with (published.path / "model.onnx").open("ab") as file:
        file.write(b"x")
    assert refused(capfd, tmp_path).startswith("the service did not start: ")
