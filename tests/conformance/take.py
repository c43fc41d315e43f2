"""Take the schemas that are checked here from OpenAI's published document: ``python -m tests.conformance.take FILE``.

What is only for readers (descriptions, examples, links to pages) or for tools (``x-``) is left out; all else stays as
it is published.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

WANTED = (
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "ListModelsResponse",
    "Model",
    "ErrorResponse",
)
FOR_READERS = {"description", "title", "example", "examples", "externalDocs"}
KEPT = Path(__file__).with_name("openai.json")


def reduced(schema: Any) -> Any:
    """A schema without what is only for readers."""
    match schema:
        case dict():
            return {
                key: {name: reduced(its) for name, its in value.items()} if key == "properties" else reduced(value)
                for key, value in schema.items()
                if key not in FOR_READERS and not key.startswith("x-")
            }
        case list():
            return [reduced(item) for item in schema]
    return schema


def references(schema: Any) -> Iterator[str]:
    """The names of the schemas that a schema refers to."""
    match schema:
        case {"$ref": str(reference)}:
            yield reference.rpartition("/")[2]
        case dict():
            for value in schema.values():
                yield from references(value)
        case list():
            for item in schema:
                yield from references(item)


def taken(document: Any) -> dict[str, Any]:
    """The wanted schemas and all that they refer to."""
    published = document["components"]["schemas"]
    found: dict[str, Any] = {}
    wanted = list(WANTED)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = reduced(published[name])
            wanted += references(found[name])
    return {
        "openapi": document["openapi"],
        "info": {"title": document["info"]["title"], "version": document["info"]["version"]},
        "components": {"schemas": dict(sorted(found.items()))},
    }


if __name__ == "__main__":
    document = yaml.safe_load(Path(sys.argv[1]).read_text())
    KEPT.write_text(json.dumps(taken(document), indent=1) + "\n")
