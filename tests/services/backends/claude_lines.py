"""claude without a process: lines that it prints, as recorded or made up, and what comes of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.backends.base import Conversation, Options, Spawn
from services.backends.claude import ClaudeBackend
from tests.services.backends.replay import Replay

RECORDINGS = Path(__file__).parents[2] / "recordings" / "claude" / "2.1.197"
BACKEND = ClaudeBackend()
PLAIN = Options(workdir="/srv/demo/work/claude")
SESSION = "7466d2b2-b0dd-4023-91a4-415415863df4"
KEPT = replace(PLAIN, keep_session=True)
RESUMED = replace(KEPT, resume=SESSION)
ASKED_WITH = {
    name: replace(PLAIN, max_tokens=99, keep_session=True) for name in ("limit-asked", "limit-in-a-tool-call")
}
"""The options of recordings that depend on them."""


def talk(options: Options = PLAIN, prompt: str = "hello") -> Conversation:
    conversation = BACKEND.conversation(options, prompt)
    conversation.start()
    return conversation


def play(lines: Sequence[bytes], exit_code: int = 0, stderr: str = "", options: Options = PLAIN) -> Replay:
    conversation = talk(options)
    conversation.data_to_send()
    events = [event for line in lines for event in conversation.receive(line)]
    phase = conversation.phase
    sent = conversation.data_to_send()
    return Replay(events, conversation.finish(exit_code, stderr), phase, sent)


def say(*messages: Mapping[str, Any]) -> list[bytes]:
    return [json.dumps(message).encode() for message in messages]


def sent(conversation: Conversation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in conversation.data_to_send().splitlines()]


def stdout_of(name: str) -> list[bytes]:
    path = RECORDINGS / f"{name}.stdout"
    return path.read_bytes().split(b"\n") if path.exists() else []


def replay(name: str, options: Options | None = None) -> Replay:
    stderr = RECORDINGS / f"{name}.stderr"
    how = RECORDINGS / f"{name}.exit"
    exit_code = json.loads(how.read_text())["exit"] if how.exists() else 0
    return play(
        stdout_of(name),
        exit_code,
        stderr.read_text() if stderr.exists() else "",
        options or ASKED_WITH.get(name, PLAIN),
    )


def spawn(options: Options) -> Spawn:
    return BACKEND.spawn(options)


def argv_of(options: Options) -> list[str]:
    return [word for word in spawn(options).argv if isinstance(word, str)]


def flags_of(options: Options) -> list[str]:
    common = set(argv_of(PLAIN))
    return [word for word in argv_of(options) if word not in common]
