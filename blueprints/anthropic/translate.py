"""From runs and their events to Anthropic's messages.

https://platform.claude.com/docs/en/api/messages and https://platform.claude.com/docs/en/build-with-claude/streaming
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal, assert_never

import orjson

from blueprints import sse
from blueprints.anthropic.errors import described
from blueprints.chat import USAGE_ESTIMATED
from services.events import (
    Done,
    Event,
    Failed,
    Init,
    Message,
    Progress,
    StopReason,
    Thinking,
    TokenUsage,
    ToolResult,
    ToolUse,
    Usage,
)
from services.running import Running

PING = sse.frame(b'{"type":"ping"}', b"ping")

STOP_REASONS: dict[StopReason, str] = {
    "end_turn": "end_turn",
    "max_tokens": "max_tokens",
    "max_turns": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
}
"""As Anthropic knows them; an agent that ran out of turns was cut off as well."""

Kind = Literal["text", "thinking"]


def message_id() -> str:
    """An id for a message."""
    return f"msg_{secrets.token_hex(12)}"


def usage(counted: TokenUsage) -> dict[str, Any]:
    """Tokens as Anthropic counts them: ``input_tokens`` without what was read from a cache or written to one."""
    cached, written = counted.cached_tokens, counted.cache_write_tokens
    reasoning = counted.reasoning_tokens
    return {
        "input_tokens": max(0, counted.input_tokens - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": counted.output_tokens,
        **({"output_tokens_details": {"thinking_tokens": reasoning}} if reasoning else {}),
    }


def ending(done: Done) -> dict[str, Any]:
    """Why the answer ended."""
    return {"stop_reason": STOP_REASONS[done.stop_reason], "stop_sequence": done.stop_sequence or None}


def message(identity: str, model: str, content: Sequence[dict[str, str]], done: Done) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        **ending(done),
        "usage": usage(done.usage),
    }


def block(kind: Kind, text: str) -> dict[str, str]:
    """A content block.  No CLI passes on the signature of a thought, and none is needed: thoughts are not sent back."""
    match kind:
        case "text":
            return {"type": "text", "text": text}
        case "thinking":
            return {"type": "thinking", "thinking": text, "signature": ""}
        case _:
            assert_never(kind)


def content(events: Iterable[Event], *, shows_thinking: bool) -> list[dict[str, str]]:
    """The content blocks of an answer: a new one wherever thought and text take turns."""
    pieces = _pieces(events, shows_thinking=shows_thinking)
    return [
        block(kind, "".join(text for _, text in said)) for kind, said in groupby(pieces, key=lambda piece: piece[0])
    ]


def _pieces(events: Iterable[Event], *, shows_thinking: bool) -> Iterator[tuple[Kind, str]]:
    for event in events:
        match event:
            case Message(text):
                yield "text", text
            case Thinking(text) if shows_thinking:
                yield "thinking", text


@dataclass(slots=True)
class StreamWriter:
    """Writes the events of one run as Anthropic's server-sent events.

    ``model`` is what the client asked for, told until the CLI names its own; ``input_tokens`` an estimate, for the
    beginning of the stream, when nobody has counted yet.
    """

    run: Running
    model: str
    input_tokens: int
    request_id: str
    shows_thinking: bool = False
    _began: bool = field(default=False, init=False)
    _kind: Kind | None = field(default=None, init=False)
    _index: int = field(default=-1, init=False)
    _before: bytes = field(default=b"", init=False)

    def write(self, events: Sequence[Event]) -> bytes:
        """The bytes of a batch of events, a ping when there are none; the first ones begin with the message."""
        parts: list[bytes] = []
        if not self._began:
            self._began = True
            parts.append(self._start(events))
        if not events:
            parts.append(PING)
        for event in events:
            if type(event) is Message and self._kind == "text":  # nearly all are: no calls for them
                parts += (self._before, orjson.dumps(event.text), b"}}\n\n")
            else:
                parts += self._parts(event)
        return b"".join(parts)

    def _parts(self, event: Event) -> Iterator[bytes]:
        match event:
            case Message(text):
                yield from self._delta("text", text)
            case Thinking(text):
                if self.shows_thinking:
                    yield from self._delta("thinking", text)
            case Done():
                yield from self._close_block()
                yield from self._end(event)
            case Failed(code, said):
                yield frame("error", described(code, said, self.request_id))
            case Init() | Progress() | Usage() | ToolUse() | ToolResult():
                return  # an agent's steps have no place in a message
            case _:
                assert_never(event)

    def _start(self, events: Sequence[Event]) -> bytes:
        counted = next((e.usage for e in reversed(events) if isinstance(e, Usage | Done)), TokenUsage())
        begun = (
            replace(counted, output_tokens=1, reasoning_tokens=0)
            if counted.input_tokens
            else TokenUsage(self.input_tokens, 1)
        )
        start = message(message_id(), self.run.model or self.model, [], Done(begun))
        return frame("message_start", {"message": start | {"stop_reason": None, "stop_sequence": None}})

    def _delta(self, kind: Kind, text: str) -> Iterator[bytes]:
        if kind != self._kind:
            yield from self._close_block()
            yield self._open_block(kind)
        yield self._before
        yield orjson.dumps(text)
        yield b"}}\n\n"

    def _open_block(self, kind: Kind) -> bytes:
        self._kind = kind
        self._index += 1
        self._before = (
            b"event: content_block_delta\n"
            b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"%b_delta","%b":'
        ) % (self._index, kind.encode(), kind.encode())
        return frame("content_block_start", {"index": self._index, "content_block": block(kind, "")})

    def _close_block(self) -> Iterator[bytes]:
        if self._kind is None:
            return
        if self._kind == "thinking":
            delta = {"type": "signature_delta", "signature": ""}
            yield frame("content_block_delta", {"index": self._index, "delta": delta})
        yield frame("content_block_stop", {"index": self._index})
        self._kind = None

    def _end(self, done: Done) -> Iterator[bytes]:
        yield frame("message_delta", {"delta": ending(done), "usage": usage(done.usage)})
        yield frame("message_stop", {})
        if done.usage_estimated:
            yield USAGE_ESTIMATED


def frame(kind: str, body: dict[str, Any]) -> bytes:
    """One event of a stream, which names its type twice."""
    return sse.frame(orjson.dumps({"type": kind, **body}), kind.encode())
