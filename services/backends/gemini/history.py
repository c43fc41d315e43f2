"""The file in which gemini records a conversation: JSON lines, of which later ones change what earlier ones said.

gemini takes it up again when it is the only one in a fresh home; its own homes would do, were it not that an ACP
session begins by emptying its file when it is opened twice in a minute.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from services.backends.base import KeptFile, Options
from services.backends.lenient import items, mapping, parse_object, text

PROJECT = "project"
"""What a run's own home calls the folder it works in, where that is known."""
PRIVATE = "work"
"""What gemini calls the run's private folder: it takes the folder's own name (:mod:`services.run_folder`)."""
FOLDER = ".gemini/clinvk"
PLACE = FOLDER + "/{session}.jsonl"


def kept_file(options: Options) -> KeptFile | None:
    """How the conversation is kept; None when it is not."""
    if not options.keep_session:
        return None
    return KeptFile(PLACE, f"{chats(options)}/session-*.jsonl", record_file(options), tidied, options.resume)


def works_in(options: Options) -> str:
    """The folder that gemini is started in; "" for a private one.

    A model has no use for a folder, whose settings would go before ours.
    """
    return "" if options.as_model else options.workdir


def registry(options: Options) -> str:
    """The registry of projects that gives the folder its name; "" when it needs none."""
    folder = works_in(options)
    if not folder or not (options.keep_session or options.messages):
        return ""
    return orjson.dumps({"projects": {folder: PROJECT}}).decode()


def chats(options: Options) -> str:
    """Where gemini keeps the conversations in its folder, below the home."""
    return f".gemini/tmp/{PROJECT if works_in(options) else PRIVATE}/chats"


def record_file(options: Options) -> str:
    """Where it finds the conversation that it is to take up."""
    return f"{chats(options)}/session-kept.jsonl"


def tidied(recorded: bytes) -> bytes:
    """A record with each message once, as it was last; empty when there is nothing to go on from.

    gemini itself would add the results of tools another time whenever the conversation is continued, since it finds
    them both with the calls and as messages.
    """
    header, messages = _read(recorded)
    answered = {call_id for message in messages for call_id in _results(_tool_results(message))}
    turns = [message for message in messages if _is_turn(message, answered)]
    if not turns:
        return b""
    return b"".join(orjson.dumps(record) + b"\n" for record in (header, *turns))


def _read(recorded: bytes) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    header: dict[str, Any] = {}
    messages: dict[str, Mapping[str, Any]] = {}
    for line in recorded.split(b"\n"):
        record = parse_object(line)
        match record:
            case None:
                continue
            case {"$rewindTo": str(first)}:
                names = list(messages)
                for name in names[names.index(first) if first in names else 0 :]:
                    del messages[name]
            case {"id": str(name)}:
                messages[name] = record
            case {"$set": _} | {"sessionId": _}:
                changes = {**mapping(record.get("$set", record))}
                if "messages" in changes:
                    messages = {text(it.get("id")): it for it in map(mapping, items(changes.pop("messages")))}
                header.update(changes)
    return header, list(messages.values())


def _is_turn(message: Mapping[str, Any], answered: set[str]) -> bool:
    """Whether the message was said, by the user or the model, and is not gemini's own or told elsewhere."""
    match message.get("type"):
        case "gemini":
            return True
        case "user":
            results = set(_results(message.get("content")))
            if results:
                return not results <= answered
            return not text(mapping(_first(message.get("content"))).get("text")).startswith("<session_context>")
    return False


def _first(content: object) -> object:
    return content[0] if isinstance(content, list) and content else None


def _tool_results(message: Mapping[str, Any]) -> list[Any]:
    calls = map(mapping, items(message.get("toolCalls")))
    return [part for call in calls for part in items(call.get("result"))]


def _results(content: object) -> Iterator[str]:
    """The ids of the calls whose results the parts are."""
    for part in items(content):
        if call_id := text(mapping(mapping(part).get("functionResponse")).get("id")):
            yield call_id
