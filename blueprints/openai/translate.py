"""From runs and their events to OpenAI's chat completions and chunks.

https://platform.openai.com/docs/api-reference/chat/object and https://platform.openai.com/docs/api-reference/chat-streaming
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, assert_never

import orjson

from blueprints import sse
from blueprints.chat import USAGE_ESTIMATED
from blueprints.openai.errors import described
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

DONE = sse.frame(b"[DONE]")

FINISH_REASONS: dict[StopReason, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_turns": "length",
    "refusal": "content_filter",
}
"""As OpenAI knows them; an agent that ran out of turns was cut off as well."""

Kind = Literal["content", "reasoning_content"]


def completion_id() -> str:
    """An id for an answer."""
    return f"chatcmpl-{secrets.token_hex(12)}"


def usage(counted: TokenUsage) -> dict[str, Any]:
    """Tokens as OpenAI counts them: the prompt's include what was read from a cache, the answer's the reasoning."""
    return {
        "prompt_tokens": counted.input_tokens,
        "completion_tokens": counted.output_tokens,
        "total_tokens": counted.input_tokens + counted.output_tokens,
        "prompt_tokens_details": {"cached_tokens": counted.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": counted.reasoning_tokens},
    }


def completion(model: str, events: Sequence[Event], done: Done) -> dict[str, Any]:
    """A whole answer."""
    thoughts = "".join(event.text for event in events if isinstance(event, Thinking))
    message = {
        "role": "assistant",
        "content": "".join(event.text for event in events if isinstance(event, Message)),
        "refusal": None,
        **({"reasoning_content": thoughts} if thoughts else {}),
    }
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": FINISH_REASONS[done.stop_reason],
    }
    return {
        "id": completion_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": usage(done.usage),
    }


@dataclass(slots=True)
class ChunkWriter:
    """Writes the events of one run as OpenAI's chunks.

    ``model`` is what the client asked for, told until the CLI names its own; with ``include_usage`` a last chunk tells
    the usage, and all others that it is yet to come.
    """

    run: Running
    model: str
    include_usage: bool = False
    _head: bytes = field(default=b"", init=False)
    _tail: bytes = field(default=b"", init=False)
    _before: dict[Kind, bytes] = field(default_factory=dict, init=False)
    _after: bytes = field(default=b"", init=False)

    def write(self, events: Sequence[Event]) -> bytes:
        """The bytes of a batch of events, a comment when there are none; the first ones begin with the role."""
        parts: list[bytes] = []
        if not self._head:
            self._begin()
            parts.append(self._chunk({"role": "assistant", "content": "", "refusal": None}))
        if not events:
            parts.append(sse.HEARTBEAT)
        before, after = self._before["content"], self._after
        for event in events:
            if type(event) is Message:  # nearly all are: no calls for them
                parts += (before, orjson.dumps(event.text), after)
            else:
                parts += self._parts(event)
        return b"".join(parts)

    def _begin(self) -> None:
        """Fix what all chunks have in common."""
        common = {
            "id": completion_id(),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self.run.model or self.model,
        }
        self._head = b"data: " + orjson.dumps(common)[:-1]
        self._tail = b',"usage":null}\n\n' if self.include_usage else b"}\n\n"
        self._before = {
            "content": self._head + b',"choices":[{"index":0,"delta":{"content":',
            "reasoning_content": self._head + b',"choices":[{"index":0,"delta":{"reasoning_content":',
        }
        self._after = b'},"logprobs":null,"finish_reason":null}]' + self._tail

    def _parts(self, event: Event) -> Iterator[bytes]:
        match event:
            case Message(text):
                yield from (self._before["content"], orjson.dumps(text), self._after)
            case Thinking(text):
                yield from (self._before["reasoning_content"], orjson.dumps(text), self._after)
            case Done():
                yield from self._end(event)
            case Failed(code, message):
                yield sse.frame(orjson.dumps(described(code, message)))
            case Init() | Progress() | Usage() | ToolUse() | ToolResult():
                return  # an agent's steps have no place in a completion
            case _:
                assert_never(event)

    def _end(self, done: Done) -> Iterator[bytes]:
        yield self._chunk({}, FINISH_REASONS[done.stop_reason])
        if self.include_usage:
            counted = orjson.dumps(usage(done.usage))
            yield b'%b,"choices":[],"usage":%b}\n\n' % (self._head, counted)
            if done.usage_estimated:
                yield USAGE_ESTIMATED
        yield DONE

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return b'%b,"choices":[%b]%b' % (self._head, orjson.dumps(choice), self._tail)
