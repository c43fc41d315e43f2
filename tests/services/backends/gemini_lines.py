"""gemini without a process: lines that it prints, as recorded or made up, and what comes of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.backends.base import Conversation, Options
from services.backends.gemini import GeminiBackend
from tests.services.backends.replay import Replay

RECORDINGS = Path(__file__).parents[2] / "recordings" / "gemini" / "0.61.0"
PLAIN = Options(workdir="/srv/demo/work/gemini", model="gemini-2.5-flash")
BACKEND = GeminiBackend()
SESSION = {"id": 2, "result": {"sessionId": "s1", "models": {"currentModelId": "m1"}}}


def talk(prompt: str = "hello", options: Options = PLAIN) -> Conversation:
    conversation = BACKEND.conversation(options, prompt)
    conversation.start()
    return conversation


def play(lines: Sequence[bytes], exit_code: int = 0, stderr: str = "", options: Options = PLAIN) -> Replay:
    conversation = talk(options=options)
    events = [event for line in lines for event in conversation.receive(line)]
    phase, sent = conversation.phase, conversation.data_to_send()
    return Replay(events, conversation.finish(exit_code, stderr), phase, sent)


def say(*messages: Mapping[str, Any]) -> list[bytes]:
    return [json.dumps({"jsonrpc": "2.0", **message}).encode() for message in messages]


def update(session_update: str, **fields: Any) -> dict[str, Any]:
    told = {"sessionUpdate": session_update, **fields}
    return {"method": "session/update", "params": {"sessionId": "s1", "update": told}}


def piece(text: str, kind: str = "agent_message_chunk") -> dict[str, Any]:
    return update(kind, content={"type": "text", "text": text})


def answered(stop_reason: str = "end_turn", sent: int = 3, got: int = 5) -> dict[str, Any]:
    quota = {"token_count": {"input_tokens": sent, "output_tokens": got}}
    return {"id": 3, "result": {"stopReason": stop_reason, "_meta": {"quota": quota}}}


def tool_call(number: int = 0) -> dict[str, Any]:
    return update("tool_call", toolCallId=f"glob__glob_17_{number}", title="*.py", kind="search")


def tool_done(number: int = 0) -> dict[str, Any]:
    return update("tool_call_update", toolCallId=f"glob__glob_17_{number}", status="completed", content=[])


def stdout_of(name: str) -> list[bytes]:
    path = RECORDINGS / f"{name}.stdout"
    return path.read_bytes().splitlines() if path.exists() else []
