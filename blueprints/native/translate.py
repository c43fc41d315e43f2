"""From runs and their events to native JSON."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, assert_never

import orjson

from blueprints import sse
from services.events import (
    Done,
    Event,
    Failed,
    Init,
    Message,
    Outcome,
    Progress,
    Thinking,
    TokenUsage,
    ToolResult,
    ToolUse,
    Usage,
)
from services.running import Running
from services.runs import Result

NDJSON = "application/x-ndjson"


def token_usage(usage: TokenUsage) -> dict[str, int]:
    """Tokens as clients see them: the input counts all, the cached ones are a part of it."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def spent(outcome: Outcome) -> dict[str, Any]:
    """What a run cost; the money only where the CLI tells it."""
    cost = {} if outcome.cost_usd is None else {"cost_usd": outcome.cost_usd}
    return {"token_usage": token_usage(outcome.usage), **cost}


def failure(outcome: Outcome) -> dict[str, str]:
    """Why a run failed; nothing when it did not."""
    match outcome:
        case Failed():
            return {"error": outcome.message, "error_code": outcome.code.value}
        case Done():
            return {}
        case _:
            assert_never(outcome)


def answer(run: Running, result: Result) -> dict[str, Any]:
    """The answer to a prompt."""
    identity = {"run_id": run.run_id} if run.run_id else {}
    return {
        **identity,
        "backend": run.backend,
        "model": run.model,
        "exit_code": result.outcome.exit_code,
        "duration_ms": result.duration_ms,
        "output": result.output,
        **failure(result.outcome),
        **spent(result.outcome),
        "warnings": run.warnings,
    }


class EventWriter:
    """Writes the events of one stream, numbered from 1 without gaps, as NDJSON or as server-sent events."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self._as_sse = content_type == sse.CONTENT_TYPE
        self._sequence = 0

    def write(self, run: Running, events: Sequence[Event]) -> bytes:
        """The bytes of a batch of a run's events; of a heartbeat when there are none."""
        if not events:
            return self.heartbeat(run.backend, run.run_id)
        return self.events(events, run.backend, run.run_id, run.duration_ms, run.warnings)

    def events(  # noqa: PLR0917
        self,
        events: Sequence[Event],
        backend: str,
        run_id: str,
        duration_ms: int,
        warnings: Sequence[str] = (),
        task: int | None = None,
    ) -> bytes:
        """The bytes of a batch of events that share their origin and their moment."""
        common = {"backend": backend, "session_id": "", "run_id": run_id, "timestamp": datetime.now(UTC)}
        if task is not None:
            common["task"] = task
        lines = []
        for event in events:
            kind, content = described(event)
            if isinstance(event, Done | Failed):
                content |= {"duration_ms": duration_ms, "warnings": warnings}
            lines.append(self.line(kind, content, common))
        return b"".join(lines)

    def heartbeat(self, backend: str = "", run_id: str = "") -> bytes:
        """A sign of life in a silence."""
        if self._as_sse:
            return sse.HEARTBEAT
        return self.events([Progress("still running")], backend, run_id, 0)

    def line(self, kind: str, content: Mapping[str, Any], common: Mapping[str, Any]) -> bytes:
        """One event."""
        self._sequence += 1
        event = {"type": kind, **common, "sequence": self._sequence, "content": content}
        if self._as_sse:
            return sse.frame(orjson.dumps(event, option=orjson.OPT_UTC_Z))
        return orjson.dumps(event, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def described(event: Event) -> tuple[str, dict[str, Any]]:
    """An event's type and content."""
    match event:
        case Message(text):
            return "message", {"text": text, "role": "assistant", "is_partial": True}
        case Thinking(text):
            return "thinking", {"text": text}
        case ToolUse(tool_id, tool_name, arguments):
            return "tool_use", {"tool_id": tool_id, "tool_name": tool_name, "input": arguments}
        case ToolResult(tool_id, output, is_error):
            return "tool_result", {"tool_id": tool_id, "output": output, "is_error": is_error}
        case Progress(message):
            return "progress", {"message": message}
        case Usage(usage):
            return "token_usage", token_usage(usage)
        case Init(model):
            return "init", {"model": model}
        case Done(turn_count=turns, exit_code=exit_code):
            return "done", {**spent(event), "turn_count": turns, "exit_code": exit_code}
        case Failed(code, message, exit_code):
            return "error", {"code": code.value, "message": message, "exit_code": exit_code, **spent(event)}
        case _:
            assert_never(event)
