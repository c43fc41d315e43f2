"""From runs and their events to native JSON."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, assert_never

import orjson

from blueprints import sse
from services.ensemble import Ensemble, Entry, Part
from services.errors import ErrorCode
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
from services.orchestration import Chain, Compare, Parallel
from services.run import Result
from services.running import Running

NDJSON = "application/x-ndjson"
STILL_RUNNING = Progress("still running")


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
    """What came of a run."""
    identity = {"run_id": run.run_id} if run.run_id else {}
    if run.session_id:
        identity["session_id"] = run.session_id
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


def together(request: Parallel | Chain | Compare, ensemble: Ensemble) -> dict[str, Any]:
    """The answer to a request of several runs, all of which have ended."""
    entries = ensemble.entries
    match request:
        case Parallel():
            head = _parallel(request, entries)
        case Chain():
            head = _chain(request, entries)
        case Compare():
            head = {"prompt": request.prompt, "backends": request.backends}
        case _:
            assert_never(request)
    results = [_step(entry) if isinstance(request, Chain) else answer(entry.run, entry.result) for entry in entries]
    return {**head, "total_duration_ms": ensemble.duration_ms, "results": results, **_spent_by_all(entries)}


def _parallel(request: Parallel, entries: Sequence[Entry]) -> dict[str, Any]:
    completed = sum(isinstance(entry.result.outcome, Done) for entry in entries)
    canceled = sum(_is_canceled(entry.result.outcome) for entry in entries)
    return {
        "total_tasks": len(request.tasks),
        "completed": completed,
        "failed": len(entries) - completed - canceled,
        "canceled": canceled,
    }


def _is_canceled(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.code is ErrorCode.CANCELED


def _chain(request: Chain, entries: Sequence[Entry]) -> dict[str, Any]:
    failed = (entry.task.index + 1 for entry in entries if isinstance(entry.result.outcome, Failed))
    return {
        "total_steps": len(request.steps),
        "completed_steps": sum(isinstance(entry.result.outcome, Done) for entry in entries),
        "failed_step": next(failed, 0),
    }


def _step(entry: Entry) -> dict[str, Any]:
    return {"step": entry.task.index + 1, "name": entry.task.name, **answer(entry.run, entry.result)}


def _spent_by_all(entries: Sequence[Entry]) -> dict[str, Any]:
    outcomes = [entry.result.outcome for entry in entries]
    usage = sum((outcome.usage for outcome in outcomes), TokenUsage())
    costs = [outcome.cost_usd for outcome in outcomes if outcome.cost_usd is not None]
    return {"token_usage": token_usage(usage), **({"cost_usd": sum(costs)} if costs else {})}


class EventWriter:
    """Writes the events of one stream, numbered from 1 without gaps, as NDJSON or as server-sent events."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self._as_sse = content_type == sse.CONTENT_TYPE
        self._sequence = 0

    def write(self, run: Running, events: Sequence[Event], *, task: int | None = None) -> bytes:
        """The bytes of a batch of a run's events, of a heartbeat when there are none."""
        if not events and self._as_sse:
            return sse.HEARTBEAT
        common = _common(run.backend, run.run_id, run.session_id, task)
        lines = []
        for event in events or (STILL_RUNNING,):
            kind, content = described(event)
            if isinstance(event, Done | Failed):
                content |= {"duration_ms": run.duration_ms, "warnings": run.warnings}
            lines.append(self._line(kind, common, content))
        return b"".join(lines)

    def write_part(self, part: Part | None) -> bytes:
        """The bytes of a part of an ensemble; None is a heartbeat."""
        if part is not None:
            return self.write(part.run, part.events, task=part.index)
        if self._as_sse:
            return sse.HEARTBEAT
        kind, content = described(STILL_RUNNING)
        return self._line(kind, _common(), content)

    def write_end(self, whole: Mapping[str, Any]) -> bytes:
        """The last event of an ensemble: done, with the whole answer."""
        return self._line("done", _common(), whole)

    def _line(self, kind: str, common: bytes, content: Mapping[str, Any]) -> bytes:
        # put together from pieces: a third of the time that orjson takes for the whole
        self._sequence += 1
        parts = (kind.encode(), common, self._sequence, orjson.dumps(content))
        event = b'{"type":"%b",%b,"sequence":%d,"content":%b}' % parts
        return sse.frame(event) if self._as_sse else event + b"\n"


def _common(backend: str = "", run_id: str = "", session_id: str = "", task: int | None = None) -> bytes:
    """What the events of a batch share, as the inside of a JSON object: where they come from and when."""
    origin: dict[str, Any] = {"backend": backend, "session_id": session_id, "run_id": run_id}
    if task is not None:
        origin["task"] = task
    origin["timestamp"] = datetime.now(UTC)
    return orjson.dumps(origin, option=orjson.OPT_UTC_Z)[1:-1]


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
