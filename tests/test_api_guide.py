"""docs/api.md tells of every route, field and error, and of none that is not there."""

import json
import re
from copy import deepcopy
from typing import Any

import pytest

from services.errors import STATUS, ErrorCode
from tests.support.documents import Block, each_block
from tests.support.fake_runs import FakeRuns, fake_app
from tests.support.guard import ROOT

GUIDE = (ROOT / "docs" / "api.md").read_text()
NEVER_GIVEN = {ErrorCode.ORIGIN_NOT_ALLOWED}
"""There are no keys and no origins yet."""


@pytest.fixture(scope="module")
def document() -> Any:
    return fake_app(FakeRuns({})).test_client().get("/openapi.json").json


def native(path: str) -> bool:
    return path.startswith("/api/v1/") or path == "/health"


def dialect(path: str) -> bool:
    """Whether it is a route of OpenAI's or Anthropic's API, and not another name of one."""
    return path.startswith(("/openai/v1/", "/anthropic/v1/")) and not path.startswith("/anthropic/v1/v1")


def test_every_route_is_told_and_no_other(document: Any) -> None:
    routes = {
        f"{method.upper()} {re.sub('{.*?}', '{id}', path)}"
        for path, its in document["paths"].items()
        if native(path) or dialect(path)
        for method in its.keys() & {"get", "post", "delete", "put", "patch"}
    }
    told = {f"{method} {path}" for method, path in re.findall(r"`([A-Z]+) (/[\w/{}]+)[?`]", GUIDE)}
    assert told == routes


def test_every_field_is_told(document: Any) -> None:
    schemas = document["components"]["schemas"]
    own = [schema for name, schema in schemas.items() if name != "PaginationMetadata"]  # flask-smorest's, unused
    fields = {name for schema in own for name in schema.get("properties", {})}
    fields |= {
        parameter["name"]
        for path, its in document["paths"].items()
        if native(path) or dialect(path)
        for parameter in its.get("get", {}).get("parameters", ())
        if parameter["in"] == "query"
    }
    assert {name for name in fields if not re.search(rf"[`\"?&]{name}[`\"=]", GUIDE)} == set()


def test_every_error_is_told_with_its_status() -> None:
    table = GUIDE[GUIDE.index("## Errors") : GUIDE.index("## Prompts")]
    told = {
        (int(status), code)
        for statuses, codes in re.findall(r"^\| ([\d, ]+) \| (.*) \|$", table, re.MULTILINE)
        for status in statuses.split(", ")
        for code in re.findall(r"`(\w+)`", codes)
    }
    missing = {(STATUS[code], code.value) for code in ErrorCode if code not in NEVER_GIVEN} - told
    assert missing == set()


SCHEMAS = [
    "Problem", "Answer", "Event", "Prompt", "Session", "Health", "Completion", "OpenAIModel", "OpenAIError",
    "MessageAnswer", "Model", "AnthropicError",
]  # fmt: skip
"""What each of the examples is one of, in the order of the page."""


@each_block(checks=SCHEMAS)
def test_an_example_is_what_the_api_says(document: Any, block: Block, check: str) -> None:
    """And has no member of which the API says nothing."""
    from jsonschema import Draft202012Validator

    components = deepcopy(document["components"])
    for schema in components["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    validator = Draft202012Validator({"$ref": f"#/components/schemas/{check}", "components": components})
    assert [error.message for error in validator.iter_errors(json.loads(block.text))] == []
