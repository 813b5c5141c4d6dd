"""What the OpenAPI document promises is what callers get, for data that fits it and for data that does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.abuse.mutations import CASES
from tests.service.servers import Server, serving

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
REFUSALS = {"400", "408", "413", "415", "429", "431", "500", "503", "504"}
PREDICT = ("/predict", "/models/flights/predict", "/v1/models/flights:predict", "/invocations")


@pytest.fixture(scope="module", params=["on", "off"], ids=lambda front: f"front-{front}")
def server(request: pytest.FixtureRequest, abused: Server, repository: Path, tmp_path_factory: Any) -> Iterator[Server]:
    if request.param == "on":
        yield abused
    else:
        with serving(repository, tmp_path_factory.mktemp("typed"), models="flights:1", front="off") as typed:
            yield typed


@pytest.fixture(scope="module")
def document(server: Server) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{server.url}/docs.json")


def test_the_document_is_valid_and_lists_every_refusal_with_its_schema(server: Server, document: BaseSchema) -> None:
    document.validate()
    content = server.get("/docs.json").json()
    for path in PREDICT:
        answers = content["paths"][path]["post"]["responses"]
        assert set(answers) == {"200"} | REFUSALS
        for code in REFUSALS:
            assert answers[code]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Refusal"}
        assert "Retry-After" in answers["429"]["headers"]
    assert content["components"]["schemas"]["Refusal"]["required"] == ["error"]


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: f"{mode.value}-data")
def test_every_answer_is_one_that_the_document_promises(document: BaseSchema, mode: GenerationMode) -> None:
    statuses: set[int] = set()
    for found in document.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # nothing about it can be wrong

        @settings(
            max_examples=max(20, CASES // 20) if operation.method == "post" else 1,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            statuses.add(case.call_and_validate(checks=CHECKS).status_code)

        check()
    assert statuses >= {200 if mode is GenerationMode.POSITIVE else 400}
