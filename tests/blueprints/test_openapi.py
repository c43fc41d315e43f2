"""The OpenAPI document grows from the code."""

import re
from typing import Any

import pytest

from tests.support.fake_runs import FakeRuns, fake_app


@pytest.fixture(scope="module")
def document() -> Any:
    return fake_app(FakeRuns({})).test_client().get("/openapi.json").json


def test_it_is_valid(document: Any) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # slow to load: not for those who only collect

    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_route_is_in_it(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    rules = fake_app(FakeRuns({})).url_map.iter_rules()
    routes = {re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule) for rule in rules}
    assert set(document["paths"]) == {route for route in routes if not route.startswith(("/openapi.json", "/docs"))}


def test_every_route_says_what_it_answers(document: Any) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in {"get", "post", "delete"}:
                assert any(status.startswith("2") for status in operation["responses"]), f"{method} {path}"


def test_every_field_says_what_it_is(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, its in schema.get("properties", {}).items():
            assert is_described(its), f"{name}.{field}"


def is_described(schema: Any) -> bool:
    """Whether it is said what something is, where it stands or where its schema does."""
    parts = [*schema.get("anyOf", ()), schema.get("items", {})]
    return "description" in schema or "$ref" in schema or any(is_described(part) for part in parts if part)


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


ANTHROPIC = ("/anthropic/v1", "/anthropic/v1/v1", "/anthropic")


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", *(f"{prefix}/messages" for prefix in ANTHROPIC)])
def test_both_forms_of_the_models_answers_are_in_it(document: Any, path: str) -> None:
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    whole, streamed = (properties(document, its["schema"]) for its in content.values())
    assert whole
    assert streamed
    assert whole != streamed


@pytest.mark.parametrize(
    ("prefix", "members"),
    [("/openai/v1", {"error"}), *((prefix, {"type", "error", "request_id"}) for prefix in ANTHROPIC)],
)
def test_each_dialect_has_its_errors(document: Any, prefix: str, members: set[str]) -> None:
    rest = {other for other in ANTHROPIC if other.startswith(prefix + "/")}
    operations = [
        operation
        for path, item in document["paths"].items()
        if path.startswith(prefix + "/") and not any(path.startswith(other + "/") for other in rest)
        for name, operation in item.items()
        if name in {"get", "post"}
    ]
    assert len(operations) >= 3
    for operation in operations:
        for status, its in operation["responses"].items():
            if status.startswith(("4", "5")) or status == "default":
                content = resolved(document, its)["content"]
                assert list(content) == ["application/json"], operation
                assert set(properties(document, content["application/json"]["schema"])) == members
        assert "default" in operation["responses"]


def resolved(document: Any, item: Any) -> Any:
    """What a reference refers to; anything else as it is."""
    if "$ref" not in item:
        return item
    found = document
    for name in item["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return resolved(document, found)


def properties(document: Any, schema: Any) -> dict[str, Any]:
    """The members of an object, of all kinds of it if there are several."""
    schema = resolved(document, schema)
    several = [properties(document, one) for name in ("oneOf", "anyOf", "allOf") for one in schema.get(name, ())]
    return {name: its for members in [*several, schema.get("properties", {})] for name, its in members.items()}
