"""The OpenAPI document grows from the code."""

from typing import Any

import pytest

from tests.support.fake_runs import FakeRuns, fake_app


@pytest.fixture(scope="module")
def document() -> Any:
    return fake_app(FakeRuns({})).test_client().get("/openapi.json").json


def test_every_route_is_in_it(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    rules = fake_app(FakeRuns({})).url_map.iter_rules()
    routes = {rule.rule.replace("<", "{").replace(">", "}") for rule in rules}
    assert set(document["paths"]) == routes - {"/openapi.json"}


def test_every_field_says_what_it_is(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, its in schema.get("properties", {}).items():
            assert "description" in its or "$ref" in its or "$ref" in its.get("items", {}), f"{name}.{field}"


def test_requests_take_nothing_else(document: Any) -> None:
    for name in ("Prompt", "Parallel", "Step", "Chain", "Compare"):
        assert document["components"]["schemas"][name]["additionalProperties"] is False


@pytest.mark.parametrize("path", ["prompt", "parallel", "chain", "compare"])
def test_both_forms_of_answers_are_in_it(document: Any, path: str) -> None:
    answers = document["paths"][f"/api/v1/{path}"]["post"]["responses"]
    assert {"application/json", "application/x-ndjson", "text/event-stream"} <= set(answers["200"]["content"])
    errors = document["components"]["responses"]["DEFAULT_ERROR"]["content"]
    assert answers["default"] == {"$ref": "#/components/responses/DEFAULT_ERROR"}
    assert list(errors) == ["application/problem+json"]
