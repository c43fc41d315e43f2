"""Checks bodies against what OpenAI publishes, as strictly as it can be read: no member that it does not name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

PUBLISHED = json.loads(Path(__file__).with_name("openai.json").read_text())

EXTENSIONS = {
    "ChatCompletionResponseMessage": "reasoning_content",
    "ChatCompletionStreamResponseDelta": "reasoning_content",
}
"""What our answers have besides: the model's reasoning, under the name that other servers and the clients use."""


def strict(schema: Any) -> Any:
    """A schema that takes no unknown members and says in the words of JSON Schema what may be null.

    The document is of OpenAPI 3.1, whose schemas are JSON Schema, but it still has the ``nullable`` of 3.0 in places.
    """
    match schema:
        case {"nullable": True, **rest}:
            return {"anyOf": [strict(rest), {"type": "null"}]}
        case dict():
            closed = {"additionalProperties": False} if "properties" in schema else {}
            return closed | {
                key: {name: strict(its) for name, its in value.items()} if key == "properties" else strict(value)
                for key, value in schema.items()
            }
        case list():
            return [strict(item) for item in schema]
    return schema


@cache
def schemas() -> Mapping[str, Any]:
    """All schemas by name, strict, with our extensions."""
    found = {name: strict(schema) for name, schema in PUBLISHED["components"]["schemas"].items()}
    for name, member in EXTENSIONS.items():
        found[name]["properties"][member] = {"type": "string"}
    return found


@cache
def validator(name: str) -> Draft202012Validator:
    """What checks a body against one of the schemas."""
    from jsonschema import Draft202012Validator  # slow to load: only where a body is looked at

    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas()}}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(name: str, body: Any) -> list[str]:
    """What a body has against one of the schemas: empty when it is as published."""
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(body)]
