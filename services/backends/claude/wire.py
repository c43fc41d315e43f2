"""The lines that are written to claude."""

from collections.abc import Iterable, Mapping

import orjson


def line(message: Mapping[str, object]) -> bytes:
    """A message as claude reads it."""
    return orjson.dumps(message) + b"\n"


def control(subtype: str, **fields: object) -> bytes:
    """A control request.  Its id is its subtype: one of a kind is enough to tell whether it was refused."""
    return line({"type": "control_request", "request_id": subtype, "request": {"subtype": subtype, **fields}})


def refusal(request_id: str) -> bytes:
    """The answer to a question of claude's (for a permission, for input to an MCP server): nobody is there to ask."""
    response = {"subtype": "error", "request_id": request_id, "error": "nobody is there to ask"}
    return line({"type": "control_response", "response": response})


def variables(values: Iterable[tuple[str, str]]) -> bytes:
    """Set variables of claude's environment, over any settings file, in place of those that were set so before."""
    return control("apply_flag_settings", settings={"env": dict(values)})


def silence() -> bytes:
    """A message without content that asks the model nothing: claude takes the conversation up, and stores it."""
    return line({"type": "user", "shouldQuery": False, "message": {"role": "user", "content": []}})


def question(prompt: str) -> bytes:
    """The prompt.  A text that begins with a slash is a command to claude; behind a newline it is a text."""
    content = f"\n{prompt}" if prompt.startswith("/") else prompt
    return line({"type": "user", "message": {"role": "user", "content": content}})
