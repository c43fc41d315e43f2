"""The conversation that a prompt brings with it, written as gemini would have recorded it and taken up as such.

It is how the messages before a prompt reach the model as turns, and also how a model's conversation begins without the
words that gemini puts before any other (the date, the operating system, its folders): gemini knows those by their id,
and adds none where the first message has it.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import orjson

from services.backends.base import Options
from services.backends.gemini.signs import NEXT_LINE, NOT_RESUMED, WHITE_SPACE, begins_with
from services.chat import ChatMessage

HEADER = {"sessionId": "before", "projectHash": "before", "kind": "main"}
"""Without times: gemini may remove what is old."""

FIRST = sha256(b"environment-context").hexdigest()[:32]
"""The id of gemini's own first message."""

UNSENT = {"text": NEXT_LINE, "thought": True}
"""A part that gemini sees when it looks how a message begins, but does not send, since it is an old thought."""

NOTHING = {
    "id": FIRST,
    "type": "gemini",
    "content": [{"text": ""}],
    "thoughts": [{"subject": "", "description": ""}],
}
"""A message that is enough of one to be taken up, for its thought, and too little to be sent, for its empty part."""


def is_brought(options: Options) -> bool:
    """Whether the conversation begins with a record that is written for it."""
    return not options.resume and (options.as_model or bool(options.messages))


def record(options: Options) -> str:
    """The record, as JSON lines."""
    said = [message for message in options.messages if message.role == "user" or message.text.strip(WHITE_SPACE)]
    lines = [_line(number, message) for number, message in enumerate(said)]
    if options.as_model:
        lines[:1] = [{**line, "id": FIRST} for line in lines[:1]] or [NOTHING]
    return "".join(_encoded([HEADER, *lines]))


def _line(number: int, message: ChatMessage) -> dict[str, Any]:
    parts: list[Mapping[str, Any]] = [{"text": message.text}]
    if message.role == "user" and (not message.text.strip(WHITE_SPACE) or begins_with(message.text, NOT_RESUMED)):
        parts.insert(0, UNSENT)
    return {"id": f"before-{number}", "type": "user" if message.role == "user" else "gemini", "content": parts}


def _encoded(lines: list[dict[str, Any]]) -> Iterator[str]:
    return (orjson.dumps(line).decode() + "\n" for line in lines)
