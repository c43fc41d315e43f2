"""What ``/openapi.json`` says beside the routes: what this is, where it is, and what lets one in."""

from collections.abc import Callable, Iterable
from typing import Any

Example = Callable[[str], dict[str, Any]]
"""Makes the body of a request for a backend."""

SCHEMES = {
    "api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "Where both are sent, this one counts.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "As OpenAI's SDKs send a key."},
}
ABOUT = """\
One HTTP server in front of the AI command lines that are installed here. There are three ways to speak to it: its own
API below `/api/v1`, OpenAI's below `/openai/v1` and Anthropic's below `/anthropic/v1`.

A POST must say `Content-Type: application/json`. Every answer has an `X-Request-Id`, your own if you send one. Where
the server has API keys, send one as `X-Api-Key` or as `Authorization: Bearer`: **Authorize**, on the page, does it."""


def options(*, keys_required: bool) -> dict[str, Any]:
    """The parts of the document that are the same for all routes."""
    needed: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]
    return {
        "info": {"description": ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/", "description": "This server"}],
        "security": needed if keys_required else [{}, *needed],
        "components": {"securitySchemes": SCHEMES},
    }


def by_status(errors: Iterable[tuple[int, str]]) -> str:
    """Statuses and names of errors in one line: for each status what it can mean."""
    told: dict[int, dict[str, None]] = {}
    for status, name in errors:
        told.setdefault(status, {})[f"`{name}`"] = None
    return "; ".join(f"{status} {', '.join(names)}" for status, names in sorted(told.items()))


def server_sent(schema: dict[str, Any], end: str) -> dict[str, Any]:
    """The schema of server-sent events whose data are JSON of another, but for what the last may say instead."""
    data: dict[str, Any] = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    if end:
        data = {"anyOf": [{"const": end}, data]}
    return {
        "type": "object",
        "description": "One of the server-sent events.",
        "properties": {"event": {"type": "string"}, "data": data},
    }
