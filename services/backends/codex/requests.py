"""What codex is asked and told: the messages of ours, as bytes."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import orjson

from services.backends.base import Options
from services.settings import ApprovalMode, SandboxMode

APPROVAL: Mapping[ApprovalMode, str] = {"auto": "on-request", "none": "never", "always": "untrusted"}
SANDBOX: Mapping[SandboxMode, str] = {
    "read-only": "read-only",
    "workspace": "workspace-write",
    "full": "danger-full-access",
}

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
    ADD_PROMPT = 4
    START_TURN = 5
    INTERRUPT = 6


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as it goes over the wire."""
    return orjson.dumps(message) + b"\n"


def opening(options: Options) -> bytes:
    """What can be said before there is a prompt: who we are and what we do not want to hear; perhaps the thread.

    A thread reads the instructions (AGENTS.md) and the settings of its folder when it opens, so in somebody's folder it
    must not be older than the prompt; and a system prompt would make the process one that fits no other prompt.
    """
    if options.workdir or options.system_prompt or options.append_system_prompt:
        return _greeting(Request.INITIALIZE)
    return _greeting(Request.INITIALIZE_AND_START_THREAD) + start_thread(options)


def _greeting(request_id: Request) -> bytes:
    client = {"name": "clinvk", "title": "clinvk", "version": "1"}
    params = {"clientInfo": client, "capabilities": {"optOutNotificationMethods": UNWANTED}}
    hello = {"id": request_id, "method": "initialize", "params": params}
    return encode(hello) + encode({"method": "initialized"})


def start_thread(options: Options) -> bytes:
    """Open the thread, in the folder that the process was started in."""
    flags = flag_values(options.extra)
    wanted = {
        "ephemeral": True,
        "model": flags.get("--model") or options.model,
        "approvalPolicy": APPROVAL.get(options.approval_mode),
        "sandbox": flags.get("--sandbox") or SANDBOX.get(options.sandbox_mode),
        "baseInstructions": options.system_prompt,
        "developerInstructions": options.append_system_prompt,
    }
    params = {name: value for name, value in wanted.items() if value}
    return encode({"id": Request.START_THREAD, "method": "thread/start", "params": params})


def is_plain(prompt: str) -> bool:
    """Whether the input of a turn takes the prompt for a text: ``$name`` in it would add the text of a skill."""
    return "$" not in prompt


def add_prompt(thread_id: str, prompt: str) -> bytes:
    """Put the prompt into the thread as a message of the user, in which nothing is looked for."""
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}
    params = {"threadId": thread_id, "items": [message]}
    return encode({"id": Request.ADD_PROMPT, "method": "thread/inject_items", "params": params})


def start_turn(thread_id: str, prompt: str | None = None) -> bytes:
    """Ask the prompt, or what the thread ends with."""
    params = {"threadId": thread_id, "input": [] if prompt is None else [{"type": "text", "text": prompt}]}
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


def flag_values(extra: Sequence[str]) -> dict[str, str]:
    """The values of extra flags, given as ``--flag value`` or ``--flag=value``, each of them checked before."""
    flags: dict[str, str] = {}
    words = iter(extra)
    for word in words:
        name, has_value, value = word.partition("=")
        flags[name] = value if has_value else next(words, "")
    return flags
