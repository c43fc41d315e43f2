"""What codex was recorded saying, and the conversations that hear it again.

``run-*.jsonl`` are runs of this project's own conversation, and ``errand-*.jsonl`` its errands: ``to`` and ``from``
codex, line by line, and how it ended.
The others are older sessions of ``codex app-server`` with several turns, and runs of ``codex exec``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from services.backends.base import Conversation, Options, Phase, Spawn
from services.backends.codex.backend import CodexBackend
from services.backends.codex.conversation import CodexConversation
from services.backends.codex.requests import Request
from services.chat import ChatMessage, Sampling
from services.events import Done, Event, Failed, Message

FOLDER = Path(__file__).parents[2] / "recordings" / "codex" / CodexBackend.tested_version
RUNS = sorted(path.stem.removeprefix("run-") for path in FOLDER.glob("run-*.jsonl"))
ERRANDS = sorted(path.stem.removeprefix("errand-") for path in FOLDER.glob("errand-*.jsonl"))
EXEC = sorted(path.stem for path in FOLDER.glob("*.argv") if path.stem != "app-server")
BACKEND = CodexBackend()
SESSIONS = ("app-server", "codex-dynamic-tools", "codex-eof", "codex-more")

Json = Mapping[str, Any]


def options(**chosen: Any) -> Options:
    """Options of a run in a private folder."""
    return Options(**{"workdir": "", **chosen})


def recorded_options(recorded: Mapping[str, Any]) -> Options:
    """Options as they stand in a recording."""
    messages = tuple(ChatMessage(**message) for message in recorded.get("messages", ()))
    sampling = Sampling(**recorded.get("sampling", {}))
    return options(**{**recorded, "messages": messages, "sampling": sampling})


def lines(data: bytes) -> list[Any]:
    """The messages in what a conversation sends."""
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


@dataclass
class Heard:
    """What came of a run."""

    events: list[Event] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    outcome: Done | Failed = field(default_factory=Done)

    @property
    def output(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Message))

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass(frozen=True)
class RecordedRun:
    """One ``run-*.jsonl`` or ``errand-*.jsonl``."""

    prompt: str
    options: Options
    steps: Sequence[Json]
    errand: str = ""

    @classmethod
    def load(cls, name: str, kind: str = "run") -> "RecordedRun":
        first, *steps = [json.loads(line) for line in (FOLDER / f"{kind}-{name}.jsonl").read_text().splitlines()]
        return cls(first.get("prompt", ""), recorded_options(first["options"]), steps, first.get("errand", ""))

    @property
    def asked(self) -> list[Any]:
        """All that was written to codex."""
        return [step["to"] for step in self.steps if "to" in step]

    @property
    def told(self) -> list[Json]:
        """All that codex wrote."""
        return [step["from"] for step in self.steps if "from" in step]

    def begin(self) -> tuple[Spawn, Conversation]:
        """What it was begun with."""
        backend = CodexBackend()
        if not self.errand:
            return backend.spawn(self.options), backend.conversation(self.options, self.prompt)
        errand = backend.fork(self.options) if self.errand == "fork" else backend.forget(self.options)
        assert errand.spawn is not None
        assert errand.conversation is not None
        return errand.spawn, errand.conversation

    def replay(self) -> Heard:
        """Hear it again, and check that the conversation ends it where it was ended."""
        spawn, conversation = self.begin()
        heard = Heard(sent=lines(spawn.opening))
        conversation.start()
        exit_code, stderr = 0, ""
        for step in self.steps:
            heard.sent += lines(conversation.data_to_send())
            match step:
                case {"from": message}:
                    heard.events += conversation.receive(orjson.dumps(message))
                case {"end": "interrupt"}:
                    assert conversation.interrupt() is None
                case {"end": "stdin"}:
                    assert conversation.stdin_done
                    assert conversation.phase is Phase.SETTLED
                case {"exit": exit_code, "stderr": stderr}:
                    pass
        heard.outcome = conversation.finish(exit_code, stderr[-4096:])
        return heard


def reported_text(messages: Iterable[Json]) -> str:
    """The answer as codex itself reports it: the completed messages of the thread that was asked."""
    thread_id, texts = "", []
    for message in messages:
        match message:
            case {
                "id": Request.START_THREAD | Request.RESUME_THREAD,
                "result": {"thread": {"id": str(thread_id)}},
            }:
                pass
            case {
                "method": "item/completed",
                "params": {"threadId": of, "item": {"type": "agentMessage", "text": str(text)}},
            } if of == thread_id and text:
                texts.append(text)
    return "\n\n".join(texts)


# ---------------------------------------------------------------------- sessions of several turns


@dataclass(frozen=True)
class RecordedTurn:
    """One turn of a session, as a conversation of ours would have heard it."""

    prompt: str
    messages: Sequence[Json]
    status: str

    def replay(self) -> Heard:
        conversation = CodexConversation(options(), self.prompt)
        heard = Heard()
        for message in self.messages:
            heard.events += conversation.receive(orjson.dumps(message))
            heard.sent += lines(conversation.data_to_send())
        heard.outcome = conversation.finish(0, "")
        return heard


def load_session(name: str) -> list[RecordedTurn]:
    """The completed turns of a session."""
    asked, told = _session(name)
    methods = {message["id"]: message for message in asked if "method" in message and "id" in message}
    threads = {
        reply["result"]["thread"]["id"]: reply
        for reply in told
        if methods.get(reply.get("id"), {}).get("method") == "thread/start" and "result" in reply
    }
    turns = []
    for index, reply in enumerate(told):
        request = methods.get(reply.get("id"), {})
        if "method" in reply or request.get("method") != "turn/start" or "result" not in reply:
            continue
        thread_id, turn_id = request["params"]["threadId"], reply["result"]["turn"]["id"]
        if (end := _end_of_turn(told, turn_id)) is None:
            continue
        start = min(index, _start_of_turn(told, turn_id))
        heard = [message for message in told[start : end + 1] if "method" in message or message is reply]
        opened = {"id": Request.START_THREAD, "result": threads[thread_id]["result"]}
        messages = [opened, *({**m, "id": Request.START_TURN} if m is reply else m for m in heard)]
        prompt = "".join(part.get("text", "") for part in request["params"]["input"])
        turns.append(RecordedTurn(prompt, messages, told[end]["params"]["turn"]["status"]))
    return turns


def _session(name: str) -> tuple[list[Any], list[Any]]:
    if (path := FOLDER / f"{name}.jsonl").exists():
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        return tuple([e["msg"] for e in entries if e["dir"] == way] for way in (">cli", "cli>"))  # type: ignore[return-value]
    texts = [(FOLDER / f"{name}.{end}").read_text() for end in ("stdin", "stdout")]
    return tuple([json.loads(line) for line in text.splitlines()] for text in texts)  # type: ignore[return-value]


def _turns_named(message: Json) -> Iterator[object]:
    params = message.get("params") or {}
    yield params.get("turnId")
    yield (params.get("turn") or {}).get("id")


def _start_of_turn(told: Sequence[Json], turn_id: str) -> int:
    return next(index for index, message in enumerate(told) if turn_id in _turns_named(message))


def _end_of_turn(told: Sequence[Json], turn_id: str) -> int | None:
    ends = (
        index
        for index, message in enumerate(told)
        if message.get("method") == "turn/completed" and turn_id in _turns_named(message)
    )
    return next(ends, None)


def tell(conversation: CodexConversation, method: str, **params: Any) -> list[Any]:
    return list(conversation.receive(orjson.dumps({"method": method, "params": params})))
