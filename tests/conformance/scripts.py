"""What the runs behind the answers do: every kind of answer, and every way to fail."""

from collections.abc import Sequence
from functools import cache

from flask.testing import FlaskClient

from services.errors import ClinvkError, ErrorCode
from services.events import (
    Done,
    Event,
    Failed,
    Init,
    Message,
    Progress,
    Thinking,
    TokenUsage,
    ToolResult,
    ToolUse,
    Usage,
)
from tests.support.fake_runs import USAGE, FakeRuns, Script, fake_app, saying

INIT = Init(model="model-1")
CACHED = TokenUsage(input_tokens=100, output_tokens=20, cached_tokens=60, cache_write_tokens=30, reasoning_tokens=5)


def doing(*batches: Sequence[Event]) -> Script:
    """A run with these batches."""
    return [[INIT], *batches]


ANSWERS: dict[str, Script] = {
    "words": saying("Hello", ", world"),
    "one word": saying("Hello"),
    "nothing": saying(),
    "an empty word": saying("", "x"),
    "any text": saying('"\\\n\r\t\u2028\u2029\x00\x1f', "ä😀", "data: [DONE]\n\nevent: x"),
    "a long word": saying("w" * 300_000),
    "all at once": [[INIT, Thinking("hm"), Message("a"), Message("b"), Done(usage=USAGE)]],
    "thoughts": doing([Thinking("let me "), Thinking("see")], [Message("x")], [Done(usage=CACHED)]),
    "thoughts alone": doing([Thinking("hm")], [Done(usage=USAGE)]),
    "thoughts between": doing([Message("a")], [Thinking("hm")], [Message("b"), Thinking("ha"), Message("c")], [Done()]),
    "tools of its own": doing(
        [Message("I look. "), ToolUse("t1", "Bash", {"command": "ls"}), ToolResult("t1", "a\nb")],
        [ToolResult("t2", "no", is_error=True), Message("There.")],
        [Done(usage=USAGE, turn_count=2)],
    ),
    "signs of life": doing([Progress("again in 1 s"), Usage(USAGE)], [], [Message("x")], [], [Usage(CACHED)], [Done()]),
    "no usage": saying("x", outcome=Done()),
    "a cache": saying("x", outcome=Done(usage=CACHED)),
    "the limit": saying("x", outcome=Done(usage=USAGE, stop_reason="max_tokens")),
    "a stop sequence": saying("x", outcome=Done(usage=USAGE, stop_reason="stop_sequence", stop_sequence="END")),
    "an estimate": saying(
        "x", outcome=Done(usage=USAGE, stop_reason="stop_sequence", stop_sequence="E", usage_estimated=True)
    ),
    "too many turns": saying("x", outcome=Done(usage=USAGE, stop_reason="max_turns")),
    "a refusal": saying("I cannot help.", outcome=Done(usage=USAGE, stop_reason="refusal")),
    "a mute refusal": saying(outcome=Done(usage=USAGE, stop_reason="refusal")),
}


def not_started(code: ErrorCode) -> Script:
    """A run that does not come about."""
    return ClinvkError(code, f"not started: {code}", retry_after_s=3)


def failing_at_once(code: ErrorCode) -> Script:
    """A run that fails before it has said anything."""
    return doing([Progress("trying")], [Failed(code, f"failed: {code}", usage=USAGE, retry_after_s=3)])


def failing_later(code: ErrorCode) -> Script:
    """A run that fails in the middle of its answer."""
    return doing([Message("Hello")], [Failed(code, f"failed: {code}", usage=USAGE, retry_after_s=3)])


FAILURES = {"not started": not_started, "at once": failing_at_once}


@cache
def _served() -> tuple[FakeRuns, FlaskClient]:
    """One application for all: what its runs do is all that differs."""
    runs = FakeRuns({})
    return runs, fake_app(runs).test_client()


def client_of(script: Script) -> FlaskClient:
    """A client of a server whose claude does this."""
    runs, client = _served()
    runs.scripts["claude"] = script
    return client


def texts_of(script: Script) -> str:
    """What claude says then."""
    assert isinstance(script, list)
    return "".join(event.text for batch in script for event in batch if isinstance(event, Message))
