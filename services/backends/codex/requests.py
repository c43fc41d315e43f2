"""What codex is asked and told: the messages of ours, as bytes."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import orjson

from services.backends.base import Options
from services.backends.codex.model import NO_ENVIRONMENTS

UNWANTED = (
    "account/rateLimits/updated",
    "app/list/updated",
    "configWarning",
    "hook/completed",
    "hook/started",
    "item/commandExecution/outputDelta",
    "item/commandExecution/terminalInteraction",
    "item/fileChange/patchUpdated",
    "item/reasoning/summaryPartAdded",
    "mcpServer/startupStatus/updated",
    "remoteControl/status/changed",
    "skills/changed",
    "thread/settings/updated",
    "thread/started",
    "thread/status/changed",
    "turn/diff/updated",
    "turn/started",
)
"""Notifications that codex need not send."""

REFUSALS: Mapping[str, Mapping[str, Any]] = {
    "item/commandExecution/requestApproval": {"decision": "decline"},
    "item/fileChange/requestApproval": {"decision": "decline"},
    "item/permissions/requestApproval": {"permissions": {}},
    "item/tool/requestUserInput": {"answers": {}},
    "item/tool/call": {"contentItems": [], "success": False},
    "mcpServer/elicitation/request": {"action": "decline"},
}
"""How to say no to each request of codex's own; any other gets a JSON-RPC error."""

METHOD_NOT_FOUND = -32601


class Request(IntEnum):
    """The ids of our requests: each is made once."""

    INITIALIZE = 1
    INITIALIZE_AND_START_THREAD = 2
    """For a greeting that the opening of the thread follows at once."""
    START_THREAD = 3
    ADD_MESSAGES = 4
    START_TURN = 5
    INTERRUPT = 6
    START_SAMPLE_THREAD = 7
    """For a thread that only shows the modes that codex has by default."""
    RESUME_THREAD = 8
    READ_THREAD = 9
    FORK_THREAD = 10
    DELETE_THREAD = 11
    READ_CONFIG = 12


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as it goes over the wire."""
    return orjson.dumps(message) + b"\n"


def greeting(request_id: Request = Request.INITIALIZE, *, experimental: bool = False) -> bytes:
    """Who we are and what we do not want to hear; ``experimental`` adds what kept threads and models are told with."""
    client = {"name": "clinvk", "title": "clinvk", "version": "1"}
    capabilities: dict[str, Any] = {"optOutNotificationMethods": UNWANTED}
    if experimental:
        capabilities["experimentalApi"] = True
    params = {"clientInfo": client, "capabilities": capabilities}
    hello = {"id": request_id, "method": "initialize", "params": params}
    return encode(hello) + encode({"method": "initialized"})


def read_config(options: Options) -> bytes:
    """Ask for codex's settings, those of the folder included."""
    params = {"cwd": options.workdir} if options.workdir else {}
    return encode({"id": Request.READ_CONFIG, "method": "config/read", "params": params})


def messages_before(options: Options, prompt: str) -> list[Mapping[str, Any]]:
    """What is to be put into the thread before its turn.

    That is what was said before.  And a prompt whose text codex would take for more: ``$name`` in the input of a turn
    adds the text of a skill.  And a thread takes the instructions that it is opened with to heart only the first time.
    """
    messages = [_message(message.role, message.text) for message in options.messages]
    if options.resume and options.append_system_prompt:
        messages.append(_message("developer", options.append_system_prompt))
    if not is_plain(prompt):
        messages.append(_message("user", prompt))
    return messages


def is_plain(prompt: str) -> bool:
    """Whether the input of a turn takes the prompt for a text."""
    return "$" not in prompt


def _message(role: str, words: str) -> Mapping[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": words}]}


def add_messages(thread_id: str, messages: Sequence[Mapping[str, Any]]) -> bytes:
    """Put messages into the thread, in which nothing is looked for."""
    params = {"threadId": thread_id, "items": messages}
    return encode({"id": Request.ADD_MESSAGES, "method": "thread/inject_items", "params": params})


def start_turn(options: Options, thread_id: str, prompt: str) -> bytes:
    """Ask the prompt, or what the thread ends with if that is the prompt already.

    codex hands any word for the effort on to the provider, which refuses those that its model does not know.
    """
    given = [{"type": "text", "text": prompt}] if is_plain(prompt) else []
    params: dict[str, Any] = {"threadId": thread_id, "input": given}
    if options.sampling.effort:
        params["effort"] = options.sampling.effort
    if options.as_model:
        params["environments"] = NO_ENVIRONMENTS
    return encode({"id": Request.START_TURN, "method": "turn/start", "params": params})


def interrupt(thread_id: str, turn_id: str) -> bytes:
    """End the turn."""
    params = {"threadId": thread_id, "turnId": turn_id}
    return encode({"id": Request.INTERRUPT, "method": "turn/interrupt", "params": params})


def refusal(request_id: object, method: str) -> bytes:
    """No, to a request of codex's own: nobody is there who could say yes."""
    if method in REFUSALS:
        return encode({"id": request_id, "result": REFUSALS[method]})
    return encode({"id": request_id, "error": {"code": METHOD_NOT_FOUND, "message": "nobody is there to answer this"}})
