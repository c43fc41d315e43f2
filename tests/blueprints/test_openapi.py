"""The OpenAPI document grows from the code."""

import re
from typing import Any

import pytest

from services.errors import STATUS, ErrorCode
from tests.support.fake_runs import FakeRuns, fake_app, saying


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


def data_of(streamed: Any) -> Any:
    """The schema of what the events of a stream carry as JSON."""
    data = streamed["schema"]["properties"]["data"]
    if "anyOf" in data:
        end, data = data["anyOf"]
        assert end == {"const": "[DONE]"}
    assert data["contentMediaType"] == "application/json"
    return data["contentSchema"]


@pytest.mark.parametrize("path", ["prompt", "parallel", "chain", "compare"])
def test_both_forms_of_answers_are_in_it(document: Any, path: str) -> None:
    answers = document["paths"][f"/api/v1/{path}"]["post"]["responses"]
    content = answers["200"]["content"]
    assert {"application/json", "application/x-ndjson", "text/event-stream"} <= set(content)
    assert data_of(content["text/event-stream"]) == content["application/x-ndjson"]["schema"]
    errors = document["components"]["responses"]["DEFAULT_ERROR"]["content"]
    assert answers["default"] == {"$ref": "#/components/responses/DEFAULT_ERROR"}
    assert list(errors) == ["application/problem+json"]


ANTHROPIC = ("/anthropic/v1", "/anthropic/v1/v1", "/anthropic")


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", *(f"{prefix}/messages" for prefix in ANTHROPIC)])
def test_both_forms_of_the_models_answers_are_in_it(document: Any, path: str) -> None:
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    whole = properties(document, content["application/json"]["schema"])
    streamed = properties(document, data_of(content["text/event-stream"]))
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


OPERATIONS = {"get", "post", "delete"}


def test_it_says_where_the_server_is_and_what_lets_one_in(document: Any) -> None:
    assert [server["url"] for server in document["servers"]] == ["/"]
    kinds = {name: its["type"] for name, its in document["components"]["securitySchemes"].items()}
    assert kinds == {"api-key": "apiKey", "bearer": "http"}
    assert {} in document["security"], "no key is needed here"


def test_it_says_what_needs_a_key_as_the_gate_does() -> None:
    client = fake_app(FakeRuns({}), keys=["key"]).test_client()
    document = client.get("/openapi.json").json
    assert document is not None
    assert document["security"] == [{"api-key": []}, {"bearer": []}]
    keyless = set()
    for path, item in document["paths"].items():
        for method in item.keys() & OPERATIONS:
            asked = client.open(
                path.replace("{", "").replace("}", ""), method=method, json={} if method == "post" else None
            )
            assert (asked.status_code != 401) == (item[method].get("security") == []), f"{method} {path}"
            keyless |= {path} if asked.status_code != 401 else set()
    assert "/health" in keyless


def test_its_parts_are_in_the_order_in_which_a_person_wants_them(document: Any) -> None:
    tags = [tag["name"] for tag in document["tags"]]
    used = {
        tag for item in document["paths"].values() for name in item.keys() & OPERATIONS for tag in item[name]["tags"]
    }
    shown = [tag for tag in tags if tag in used]
    assert used <= set(tags)
    assert shown[:4] == ["Prompts", "Sessions and runs", "OpenAI", "Anthropic"]
    assert shown[-1] == "Server"


def test_every_body_has_examples_that_are_taken(document: Any) -> None:
    from jsonschema import Draft202012Validator

    examples = 0
    for path, item in document["paths"].items():
        body = item.get("post", {}).get("requestBody")
        if body is None:
            continue
        content = body["content"]["application/json"]
        schema = content["schema"] | {"components": document["components"]}
        assert content["examples"], path
        for its in content["examples"].values():
            Draft202012Validator(schema).validate(its["value"])
            examples += 1
    assert examples > 10


@pytest.mark.parametrize("status", sorted({STATUS[code] for code in ErrorCode}))
@pytest.mark.parametrize(("schema", "field"), [("Problem", "error"), ("OpenAIErrorDetail", "code")])
def test_every_error_is_told_by_its_status(document: Any, schema: str, field: str, status: int) -> None:
    told = document["components"]["schemas"][schema]["properties"][field]["description"]
    assert re.search(rf"\b{status} `", told)


@pytest.mark.parametrize(
    ("schema", "may_be_null"), [("Messages", True), ("CountTokens", True), ("MessageParam", False)]
)
def test_a_text_may_be_null_where_it_is_taken(document: Any, schema: str, may_be_null: bool) -> None:
    properties = document["components"]["schemas"][schema]["properties"]
    field = properties["system" if may_be_null else "content"]
    assert ({"type": "null"} in field["anyOf"]) == may_be_null


CHATS = ("/openai/v1/chat/completions", *(f"{prefix}/messages" for prefix in ANTHROPIC))
REQUEST_HEADERS = {"Tools", "Workdir", "Approval-Mode", "Sandbox-Mode", "Session"}
ANSWER_HEADERS = {"Run", "Session", "Ignored", "Usage"}


@pytest.mark.parametrize("path", CHATS)
def test_the_chat_apis_have_headers_of_ours(document: Any, path: str) -> None:
    operation = document["paths"][path]["post"]
    heeded = {its["name"]: its for its in operation["parameters"] if its["in"] == "header"}
    sent = operation["responses"]["200"]["headers"]
    assert heeded.keys() == {f"X-Clinvk-{name}" for name in REQUEST_HEADERS}
    assert sent.keys() == {f"X-Clinvk-{name}" for name in ANSWER_HEADERS}
    for header in (*heeded.values(), *sent.values()):
        assert header["description"]
        assert not header.get("required")


def test_a_word_that_a_header_may_be_is_taken_and_no_other(document: Any) -> None:
    client = fake_app(FakeRuns({"claude": saying("hi")})).test_client()
    body = {"model": "claude", "messages": [{"role": "user", "content": "Hello!"}]}
    for header in document["paths"][CHATS[0]]["post"]["parameters"]:
        words = header["schema"].get("enum", [])
        for word in words:
            assert client.post(CHATS[0], json=body, headers={header["name"]: word}).status_code == 200
        if words:
            refused = client.post(CHATS[0], json=body, headers={header["name"]: "sometimes"})
            assert (refused.status_code, (refused.json or {})["error"]["param"]) == (400, header["name"])
