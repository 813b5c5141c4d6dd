"""How a platform starts the service: the port, the routes and the word that it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from rowcast.service.middleware.keys import new_key
from rowcast.service.platform_variables import EnvironmentRefused, Routes, log_lines, port_of, routes_of
from rowcast.service.protocols.platforms.container import variables_for
from tests.service.hostile_payloads import ROW
from tests.service.servers import NO_TLS, ROOT, environment, free_port
from tests.support.serving import wait_until_ready

CONTAINER = ROOT / "service" / "protocols" / "platforms" / "container.py"


@pytest.mark.parametrize(
    ("variables", "arguments", "port"),
    [
        ({}, [], 3000),
        ({}, ["serve"], 8080),
        ({}, ["--workers", "2"], 3000),
        ({"AIP_HTTP_PORT": "8080"}, [], 8080),
        ({"AIP_HTTP_PORT": " 9000 "}, ["serve"], 9000),
        ({"SAGEMAKER_BIND_TO_PORT": "15000"}, ["serve"], 15000),
        ({"AIP_HTTP_PORT": "", "SAGEMAKER_BIND_TO_PORT": ""}, [], 3000),
    ],
)
def test_the_port_is_the_one_that_the_platform_names(
    variables: dict[str, str], arguments: list[str], port: int
) -> None:
    assert port_of(variables, arguments)[0] == port


@pytest.mark.parametrize("value", ["0", "65536", "80a", "-1", "8080.0", "\u0668\u0660", "9" * 5000])
@pytest.mark.parametrize("name", ["AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"])
def test_what_is_no_port_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(EnvironmentRefused, match=f"{name} must be a port from 1 to 65535, got "):
        port_of({name: value})


@pytest.mark.parametrize("value", ["health", "http://x/y", "/a b", "/a?b", "/a#b", "/a\r\nb"])
def test_what_is_no_route_is_refused_by_name(value: str) -> None:
    with pytest.raises(EnvironmentRefused, match="AIP_HEALTH_ROUTE must be a path such as /health, got "):
        routes_of({"AIP_HEALTH_ROUTE": value})


def test_two_routes_may_not_be_the_same() -> None:
    with pytest.raises(EnvironmentRefused, match="must differ, got '/x' for both"):
        routes_of({"AIP_HEALTH_ROUTE": "/x", "AIP_PREDICT_ROUTE": "/x"})


def test_what_is_heeded_and_what_is_not_is_told() -> None:
    variables = {"AIP_HEALTH_ROUTE": "/h", "AIP_PREDICT_ROUTE": "/p", "AIP_STORAGE_URI": "gs://b/m", "AIP_MODE": "X"}
    assert routes_of(variables) == Routes("/h", "/p")
    assert log_lines(variables, several=False) == [
        "AIP_HEALTH_ROUTE: /h says whether the models are ready",
        "AIP_PREDICT_ROUTE: /p takes instances",
        "AIP_STORAGE_URI is not read: the models served are those of ROWCAST_REPOSITORY",
    ]
    assert log_lines({"AIP_PREDICT_ROUTE": "/p"}, several=True) == [
        "AIP_PREDICT_ROUTE: /p is for one model, got several: name one with ROWCAST_MODELS"
    ]


@pytest.mark.parametrize(
    ("variables", "arguments", "added"),
    [
        ({}, [], {}),
        ({}, ["serve"], {"PORT": "8080", "ROWCAST_GRPC_PORT": "off"}),
        ({"PORT": "5000"}, ["serve"], {"ROWCAST_GRPC_PORT": "off"}),
        ({"BENTOML_PORT": "5000", "ROWCAST_GRPC_PORT": "7000"}, ["serve"], {}),
        ({"SAGEMAKER_BIND_TO_PORT": "15000"}, [], {"PORT": "15000", "ROWCAST_GRPC_PORT": "off"}),
        ({"AIP_HTTP_PORT": "8080"}, [], {"PORT": "8080"}),
    ],
)
def test_a_container_takes_its_port_from_its_platform_unless_somebody_chose_one(
    variables: dict[str, str], arguments: list[str], added: dict[str, str]
) -> None:
    assert variables_for(variables, arguments)[0] == added


def test_the_entry_point_gives_way_to_the_one_it_is_given(tmp_path: Path) -> None:
    entrypoint = tmp_path / "entrypoint.sh"
    entrypoint.write_text('#!/bin/sh\necho "$$ $PORT $ROWCAST_GRPC_PORT $*"\n')
    entrypoint.chmod(0o755)
    started = subprocess.Popen(
        [sys.executable, str(CONTAINER), str(entrypoint), "serve", "--x"],
        env={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, said = started.communicate(timeout=30)
    assert out.split() == [str(started.pid), "8080", "off", "serve", "--x"]
    assert said.startswith("rowcast: port 8080: serve, as SageMaker starts it\n")


def test_the_entry_point_refuses_a_port_that_is_none(tmp_path: Path) -> None:
    command = [sys.executable, str(CONTAINER), "/bin/true"]
    done = subprocess.run(command, env={"AIP_HTTP_PORT": "x"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "rowcast: AIP_HTTP_PORT must be a port from 1 to 65535, got 'x'\n")


def test_rowcast_serve_listens_where_vertex_ai_says_and_asks_for_keys_but_for_probes(
    one_model: Path, tmp_path: Path
) -> None:
    key = new_key("alice", tmp_path / "keys.txt")
    port = free_port()
    variables = {
        "AIP_HTTP_PORT": str(port),
        "AIP_HEALTH_ROUTE": "/v1/endpoints/7/deployedModels/9",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/7/deployedModels/9:predict",
        "AIP_STORAGE_URI": "gs://bucket/model",
    }
    log = tmp_path / "log"
    settings = environment(tmp_path / "home", workers="1", grace="0", api_keys=str(tmp_path / "keys.txt"))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "rowcast", "serve", "--repository", str(one_model)],
            env=settings | variables,
            cwd=tmp_path,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        body = json.dumps({"instances": [ROW]}).encode()
        sent = {"content-type": "application/json"}
        with httpx.Client(base_url=url, verify=NO_TLS) as client:
            for probe in (variables["AIP_HEALTH_ROUTE"], "/ping", "/health"):
                assert client.get(probe).status_code == 200
            for path in (variables["AIP_PREDICT_ROUTE"], "/invocations", "/v1/models/flights:predict"):
                assert client.post(path, content=body, headers=sent).status_code == 401
                answer = client.post(path, content=body, headers=sent | {"x-api-key": key})
                assert (answer.status_code, len(answer.json()["predictions"])) == (200, 1)
            for path in ("/v1/models", "/v1/models/flights", "/version"):
                assert client.get(path).status_code == 401
    finally:
        process.terminate()
        process.wait(30)
    lines = log.read_text()
    assert f"port {port}: AIP_HTTP_PORT; --port chooses another" in lines
    assert lines.count("AIP_PREDICT_ROUTE: /v1/endpoints/7/deployedModels/9:predict takes instances") == 1
    assert lines.count("AIP_STORAGE_URI is not read") == 1
