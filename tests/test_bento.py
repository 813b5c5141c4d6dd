"""The bento: what goes into it, and that it serves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from image.bento import stage
from rowcast.models import Repository
from rowcast.models.errors import ModelNotFound, ModelRefused
from rowcast.service.settings import Settings
from tests.service.servers import NO_TLS
from tests.support import bento, handmade
from tests.support.serving import ask, free_port, wait_until_ready


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("bento")
    return home, bento.build(home)


def test_it_holds_the_service_the_models_and_nothing_that_trains(built):
    files = {file.relative_to(built[1] / "src").as_posix() for file in (built[1] / "src").rglob("*") if file.is_file()}
    assert {"rowcast/__init__.py", "service/router.py", "models/session.py"} <= files
    assert "models/repository/flights/1/model.onnx" in files
    rooms = {file.partition("/")[0] for file in files}
    assert rooms - {"bentofile.yaml", "README.md", "requirements-serving.lock"} == {"rowcast", "service", "models"}


def modules(*rooms):
    """Every module of some rooms, from the root of the checkout."""
    return {file.relative_to(bento.ROOT).as_posix() for room in rooms for file in (bento.ROOT / room).rglob("*.py")}


def test_it_holds_every_module_of_the_service(built):
    files = {file.relative_to(built[1] / "src").as_posix() for file in (built[1] / "src").rglob("*.py")}
    assert modules("service", "models") - files == set()


def test_what_it_imports_is_its_own(built):
    """BentoML copies no links: the package finds its rooms beside itself."""
    code = "import rowcast.models.session as m, rowcast.service.router as s; print(m.__file__, s.__file__)"
    source = built[1] / "src"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(source / "models" / "session.py"), str(source / "service" / "router.py")]


def pins(lock):
    """Names and versions of a lock, `name==version`."""
    return set(re.findall(r"^[a-z0-9._-]+==[^\s;\\]+", lock, flags=re.MULTILINE | re.IGNORECASE))


def test_its_requirements_are_our_lock_with_hashes(built):
    locked = (built[1] / "env" / "python" / "requirements.txt").read_text()
    ours = (bento.ROOT / "requirements-serving.lock").read_text()
    assert pins(locked) == pins(ours)
    assert set(re.findall(r"--hash=sha256:[0-9a-f]{64}", locked)) == set(
        re.findall(r"--hash=sha256:[0-9a-f]{64}", ours)
    )
    names = {pin.partition("==")[0] for pin in pins(locked)}
    assert {"bentoml", "numpy", "pydantic"} <= names
    assert not names & {"torch", "polars", "onnx", "scikit-learn", "pandas"}


@pytest.fixture
def dockerfile(built):
    """The instructions of the bento's Dockerfile: without comments, one a line."""
    text = (built[1] / "env" / "docker" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines()


def test_its_container_does_not_run_as_root(dockerfile):
    assert [line for line in dockerfile if line.startswith("USER ")] == ["USER 1034:1034"]
    last_root = max(number for number, line in enumerate(dockerfile) if line.startswith(("RUN ", "COPY ")))
    assert last_root < dockerfile.index("USER 1034:1034") < len(dockerfile) - 1
    assert dockerfile[-1].startswith("ENTRYPOINT [")


def test_its_image_installs_our_lock_with_hashes_and_nothing_else(built, dockerfile):
    installs = [line for line in dockerfile if re.search(r"\b(pip3?|uv|apt|apt-get|apk|conda|curl|wget)\b", line)]
    assert len(installs) == 1
    assert installs[0].count(" install ") == 1
    assert "--require-hashes" in installs[0]
    assert "--no-cache-dir" in installs[0]
    assert installs[0].endswith("--requirement /tmp/requirements-serving.lock")
    assert "COPY src/requirements-serving.lock /tmp/" in dockerfile
    ours = bento.ROOT / "requirements-serving.lock"
    assert (built[1] / "src" / "requirements-serving.lock").read_bytes() == ours.read_bytes()


def test_its_image_gets_no_tools_that_build(dockerfile):
    for tool in ("build-essential", "gcc", "g++", "make", "git", "gnupg2"):
        assert not [line for line in dockerfile if re.search(rf"(?<![\w+-]){re.escape(tool)}(?![\w+-])", line)], tool


def test_its_image_is_made_on_any_base_and_carries_the_made_parts_over(dockerfile):
    assert dockerfile[0] == "ARG BASE_IMAGE=python:3.11-slim"
    stages = [line for line in dockerfile if line.startswith("FROM ")]
    assert stages == ["FROM ${BASE_IMAGE} AS made", "FROM ${BASE_IMAGE}"]
    final = dockerfile[dockerfile.index(stages[1]) :]
    assert all(line.startswith("COPY --from=made ") for line in final if line.startswith(("COPY", "ADD")))


def test_its_image_serves_the_models_of_the_bento_and_sends_nothing_home(dockerfile):
    settings = dict(pair.split("=", 1) for line in dockerfile if line.startswith("ENV ") for pair in line.split()[1:])
    assert settings["ROWCAST_REPOSITORY"] == settings["BENTO_PATH"] + "/src/models/repository"
    assert settings["BENTOML_DO_NOT_TRACK"] == "true"
    assert settings["BENTOML_CONTAINERIZED"] == "true"
    assert settings["BENTOML_HOME"] == "/tmp/bentoml"


@pytest.fixture
def published(tmp_path):
    """A repository of flights:1, flights:2 and other:1."""
    repository = Repository(tmp_path / "repository")
    for name in ("flights", "flights", "other"):
        repository.publish(name, handmade.manifest(), {"model.onnx": handmade.graph()})
    return repository


@pytest.mark.parametrize(
    ("models", "held"),
    [
        ("flights:1", ["flights:1"]),
        ("flights:1,other", ["flights:1", "other:1"]),
        ("flights:2,flights:1,flights", ["flights:1", "flights:2"]),
        ("", ["flights:2", "other:1"]),
    ],
)
def test_a_bento_is_made_of_the_chosen_versions_alone(published, tmp_path, models, held):
    context = tmp_path / "context"
    context.mkdir()
    assert stage(Settings(repository=published.root, models=models), context) == held
    copy = Repository(context / "models" / "repository")
    assert [f"{name}:{version}" for name in copy.names() for version in copy.versions(name)] == held


def test_a_bento_is_made_of_what_bentoml_build_takes_from_the_checkout(built, published, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    stage(Settings(repository=published.root, models="flights:1"), context)
    staged = {file.relative_to(context).as_posix() for file in context.rglob("*") if file.is_file()}
    source = built[1] / "src"
    taken = {file.relative_to(source).as_posix() for file in source.rglob("*") if file.is_file()}
    of_a_service = (".pyc", "/.lock", "/rollout.json", "/.rollout-last.json")  # of a test that served from there
    taken = {file for file in taken if not file.endswith(of_a_service)}
    assert taken - staged == set()
    assert staged - taken == {"image/Dockerfile.j2"}


def test_a_bento_is_not_made_of_a_version_that_was_changed(published, tmp_path):
    with (published.root / "flights" / "1" / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    (tmp_path / "context").mkdir()
    with pytest.raises(ModelRefused):
        stage(Settings(repository=published.root, models="flights:1"), tmp_path / "context")


def test_a_bento_without_a_model_is_refused(tmp_path):
    (tmp_path / "context").mkdir()
    with pytest.raises(ModelNotFound, match="a bento needs a model; there is none in"):
        stage(Settings(repository=tmp_path / "empty"), tmp_path / "context")


def test_a_bento_of_a_version_that_is_not_there_is_refused(published, tmp_path):
    (tmp_path / "context").mkdir()
    with pytest.raises(ModelNotFound, match="model 'flights' has no version 9; versions: 1, 2"):
        stage(Settings(repository=published.root, models="flights:9"), tmp_path / "context")


def test_it_serves_its_model_from_its_path(built):
    home, folder = built
    row = handmade.BINARY.example_row()
    with bento.served(folder, home) as url:
        assert ask(url, [row])[0]["probabilities"]["late"] == pytest.approx(handmade.late(row), abs=1e-6)


def test_its_container_serves_as_sagemaker_starts_it(built):
    """``docker run IMAGE serve``, with the variable of an endpoint of several containers; without the engine."""
    home, folder = built
    port = free_port()
    entrypoint = str(folder / "env" / "docker" / "entrypoint.sh")
    own = {"BENTO_PATH": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port), "BENTOML_HOST": "127.0.0.1"}
    own |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ROWCAST_WORKERS": "1", "ROWCAST_GRACE": "0"}
    variables = {name: value for name, value in bento.environment(home).items() if name != "ROWCAST_GRPC_PORT"} | own
    process = subprocess.Popen(
        [
            sys.executable,
            str(folder / "src" / "service" / "protocols" / "platforms" / "container.py"),
            entrypoint,
            "serve",
        ],
        env=variables,
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    row = handmade.BINARY.example_row()
    line = ",".join(str(value) for value in row.values())
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        assert httpx.get(f"{url}/ping", verify=NO_TLS).status_code == 200
        sent = {"content-type": "text/csv", "accept": "text/csv"}
        answer = httpx.post(f"{url}/invocations", content=line, headers=sent, verify=NO_TLS)
        assert float(answer.text.split(",")[2]) == pytest.approx(handmade.late(row), abs=1e-6)
    finally:
        process.terminate()
        process.wait(30)


def test_its_container_takes_the_port_from_its_platform(dockerfile):
    assert "LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true" in dockerfile
    program, own, entrypoint = json.loads(dockerfile[-1].removeprefix("ENTRYPOINT "))
    home = entrypoint.removesuffix("/env/docker/entrypoint.sh")
    assert (program, own) == ("python", f"{home}/src/service/protocols/platforms/container.py")
