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


def settings(variables: Iterable[tuple[str, str]], **more: object) -> bytes:
    """Set variables of claude's environment, over any settings file, in place of those that were set so before."""
    return control("apply_flag_settings", settings={"env": dict(variables), **more})


def silence() -> bytes:
    """A message without content that asks the model nothing: claude takes the conversation up, and stores it."""
    return line({"type": "user", "shouldQuery": False, "message": {"role": "user", "content": []}})


def question(prompt: str) -> bytes:
    """The prompt."""
    return line({"type": "user", "message": _users(prompt)})


def remark(text: str) -> bytes:
    """An earlier message of the user's, which is not to be answered: claude says an empty ``result`` to it."""
    return line({"type": "user", "shouldQuery": False, "message": _users(text)})


def answer(text: str) -> bytes:
    """An earlier answer of the model's."""
    content = [{"type": "text", "text": text}]
    return line({"type": "assistant", "message": {"role": "assistant", "content": content}})


def _users(text: str) -> Mapping[str, str]:
    """A text of the user's.  One that begins with a slash is a command to claude; behind a newline it is a text."""
    return {"role": "user", "content": f"\n{text}" if text.startswith("/") else text}
