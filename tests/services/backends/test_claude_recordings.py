"""claude, from what it was recorded saying."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from services.backends.base import Phase
from services.errors import ErrorCode
from services.events import Done, Failed, Init, Message, Progress, Thinking, TokenUsage, ToolResult, ToolUse, Usage
from tests.services.backends.claude_lines import PLAIN, RECORDINGS, replay, stdout_of, talk

NAMES = sorted(path.stem for path in RECORDINGS.glob("*.argv"))
PROTOCOLS = sorted(path.stem for path in (RECORDINGS / "protocols").glob("*.jsonl"))


def objects_of(name: str) -> list[dict[str, Any]]:
    lines = [line for line in stdout_of(name) if line.startswith(b"{")]
    messages: list[dict[str, Any]] = [json.loads(line) for line in lines]
    ends = [place for place, message in enumerate(messages) if message["type"] == "result"]
    return messages[: ends[0] + 1] if ends else messages


FAILURES = {
    "SIGINT-stream": (ErrorCode.BACKEND_FAILED, 1, "exit code 0"),
    "SIGINT-tool": (ErrorCode.BACKEND_FAILED, 1, "interrupted"),
    "SIGTERM-stream": (ErrorCode.BACKEND_FAILED, 143, "exit code 143"),
    "SIGTERM-tool": (ErrorCode.BACKEND_FAILED, 143, "exit code 143"),
    "empty-stdin": (ErrorCode.BACKEND_FAILED, 1, "Input must be provided"),
    "err400": (ErrorCode.BACKEND_FAILED, 1, "400 fake 400"),
    "err403": (ErrorCode.BACKEND_AUTH_FAILED, 1, "run `claude` and log in"),
    "err404-unknown-model": (ErrorCode.UNKNOWN_MODEL, 1, "'no-such-model'"),
    "err429-full": (ErrorCode.RATE_LIMITED, 1, "try again later"),
    "max-budget": (ErrorCode.BACKEND_FAILED, 1, "Reached maximum budget"),
    "max-turns": (ErrorCode.BACKEND_FAILED, 1, "Reached maximum number of turns (2)"),
    "max-turns-1": (ErrorCode.BACKEND_FAILED, 1, "Reached maximum number of turns (1)"),
    "max-turns-3-json": (ErrorCode.BACKEND_FAILED, 1, "Reached maximum number of turns (3)"),
    "mode-bypassPermissions": (ErrorCode.BACKEND_FAILED, 1, "cannot be used with root"),
    "nocreds": (ErrorCode.BACKEND_AUTH_FAILED, 1, "Not logged in"),
    "nocreds-text": (ErrorCode.BACKEND_AUTH_FAILED, 1, "Not logged in"),
    "not-logged-in": (ErrorCode.BACKEND_AUTH_FAILED, 1, "Not logged in"),
    "prompt-too-long": (ErrorCode.CONTEXT_TOO_LONG, 1, "208310 tokens"),
    "resume-bogus": (ErrorCode.SESSION_EXPIRED, 1, "No conversation found"),
    "resume-other-cwd": (ErrorCode.SESSION_EXPIRED, 1, "No conversation found"),
    "retries-0-401-text": (ErrorCode.BACKEND_AUTH_FAILED, 1, "401 fake 401"),
    "retries-0-429": (ErrorCode.RATE_LIMITED, 1, "fake 429"),
    "retries-0-500": (ErrorCode.BACKEND_FAILED, 1, "500 fake 500"),
    "retries-0-529": (ErrorCode.OVERLOADED, 1, "529 fake 529"),
    "retries-1-401": (ErrorCode.BACKEND_AUTH_FAILED, 1, "401 fake 401"),
    "retry-401": (ErrorCode.BACKEND_AUTH_FAILED, 1, "HTTP 401 at attempt 2"),
    "retry-529": (ErrorCode.OVERLOADED, 1, "Repeated 529"),
    "retry-after-50": (ErrorCode.RATE_LIMITED, 1, "HTTP 429 at attempt 1"),
    "session-copy-unknown": (ErrorCode.SESSION_EXPIRED, 1, "it said: No conversation found"),
    "session-id-again": (ErrorCode.BACKEND_FAILED, 1, "already in use"),
    "session-no-id": (ErrorCode.SESSION_EXPIRED, 1, "is not a UUID"),
    "session-unknown": (ErrorCode.SESSION_EXPIRED, 1, "it said: No conversation found"),
    "stream-json-no-verbose": (ErrorCode.BACKEND_FAILED, 1, "requires --verbose"),
    "text": (ErrorCode.BACKEND_FAILED, 1, "before it had finished"),
    "tool": (ErrorCode.BACKEND_FAILED, 1, "cannot be used with root"),
    "unknown-model": (ErrorCode.UNKNOWN_MODEL, 1, "'no-such-model'"),
}
"""The code, the exit code and a part of the message of every recorded failure; every other recording is a success."""

SPECIAL = {
    "json", "limit-again-and-again", "limit-asked", "limit-in-a-tool-call", "limit-of-its-own", "refusal",
    "slash-stdin", "truncate",
}  # fmt: skip
"""Successes whose output is not simply the text of the model's messages."""


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_recorded_failures(name: str) -> None:
    code, exit_code, part = FAILURES[name]
    outcome = replay(name).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.exit_code) == (code, exit_code)
    assert part in outcome.message


def messages_of(name: str) -> Iterator[str]:
    """The texts of the model's messages, read from the whole blocks alone."""
    texts: dict[str, str] = {}
    for line in objects_of(name):
        if line["type"] == "assistant" and line["parent_tool_use_id"] is None:
            for block in line["message"]["content"]:
                if block["type"] == "text":
                    ident = line["message"]["id"]
                    texts[ident] = texts.get(ident, "") + block["text"]
    return filter(None, texts.values())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FAILURES])
def test_recorded_successes(name: str) -> None:
    run = replay(name)
    result = objects_of(name)[-1]
    assert isinstance(run.outcome, Done), run.outcome
    assert run.phase is Phase.SETTLED
    assert run.outcome.cost_usd == result["total_cost_usd"]
    assert run.outcome.turn_count == max(1, result["num_turns"])
    if name not in SPECIAL:
        assert run.output == "\n\n".join(messages_of(name))
        assert run.output.endswith(result["result"])
        assert run.outcome.stop_reason == "end_turn"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FAILURES])
def test_recorded_usage_is_what_claude_reports(name: str) -> None:
    result = objects_of(name)[-1]
    reported = result["usage"]
    cached, written = reported["cache_read_input_tokens"], reported["cache_creation_input_tokens"]
    usage = TokenUsage(reported["input_tokens"] + cached + written, reported["output_tokens"], cached, written)
    if name == "sub-agent":  # its usage leaves out what the sub-agent took, its cost does not
        usage = TokenUsage(256, 80, 22, 14)
    if usage == TokenUsage():  # after a stream that broke off, only the model's account is right
        models = result["modelUsage"].values()
        cached = sum(model["cacheReadInputTokens"] for model in models)
        written = sum(model["cacheCreationInputTokens"] for model in models)
        fresh = sum(model["inputTokens"] for model in models)
        usage = TokenUsage(fresh + cached + written, sum(model["outputTokens"] for model in models), cached, written)
    assert replay(name).outcome.usage == usage


@pytest.mark.parametrize("name", [name for name in NAMES if any(b'"init"' in line for line in stdout_of(name))])
def test_recorded_sessions_are_told(name: str) -> None:
    first = next(line for line in objects_of(name) if line.get("subtype") == "init")
    assert replay(name).of(Init)[0] == Init(first["model"], first["session_id"])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_recorded_protocols_never_raise(name: str) -> None:
    conversation = talk()
    for entry in (RECORDINGS / "protocols" / f"{name}.jsonl").read_text().splitlines():
        record = json.loads(entry)
        if record["dir"] == "cli>":
            conversation.receive(json.dumps(record["msg"]).encode())
    assert isinstance(conversation.finish(0, ""), Done | Failed)


def test_text_and_thoughts_come_piece_by_piece() -> None:
    run = replay("partial-thinking")
    assert [event.text for event in run.of(Thinking)] == ["let ", "me ", "think"]
    assert [event.text for event in run.of(Message)][1:] == ["w0 ", "w1 "]
    assert run.of(Usage) == [Usage(run.outcome.usage)]


def test_a_tool_and_its_result() -> None:
    run = replay("partial-tool")
    (use,), (result,) = run.of(ToolUse), run.of(ToolResult)
    assert (use.tool_name, use.input["command"]) == ("Bash", "echo from-the-tool")
    assert result == ToolResult(use.tool_id, "from-the-tool")


def test_a_refused_permission_is_an_error_of_the_tool() -> None:
    (result,) = replay("mode-dontAsk").of(ToolResult)[:1]
    assert result.is_error


def test_a_sub_agent_works_but_does_not_answer() -> None:
    run = replay("sub-agent")
    assert run.output == "I ask\n\nmain done"
    assert [event.tool_name for event in run.of(ToolUse)] == ["Agent", "Bash"]
    assert run.of(ToolResult)[0].output == "sub"


def test_a_stream_that_broke_off_is_not_repeated() -> None:
    run = replay("drop-midtext")
    assert [event.text for event in run.of(Message)][-2:] == ["w2 ", "w3 w4 w5 "]
    assert run.output == objects_of("drop-midtext")[-1]["result"]


def test_a_limit_that_was_asked_for_ends_the_answer() -> None:
    run = replay("limit-asked", replace(PLAIN, max_tokens=99))
    assert isinstance(run.outcome, Done)
    assert (run.outcome.stop_reason, run.outcome.exit_code) == ("max_tokens", 0)
    assert run.output.endswith("w0 w1 w2 ")
    assert run.output.count("fake turn") == 1
    assert (run.phase, run.sent) == (Phase.ABANDONED, b""), "claude would ask the model to go on"


def test_an_answer_that_is_kept_is_interrupted_at_its_limit() -> None:
    run = replay("limit-asked")
    assert isinstance(run.outcome, Done)
    assert (run.outcome.stop_reason, run.phase) == ("max_tokens", Phase.SETTLED)
    assert json.loads(run.sent)["request"] == {"subtype": "interrupt"}


def test_a_limit_in_a_tool_call_ends_the_answer_too() -> None:
    run = replay("limit-in-a-tool-call")
    assert isinstance(run.outcome, Done)
    assert (run.output, run.outcome.stop_reason) == ("partial ", "max_tokens")


def test_a_model_without_tools_ends_at_its_limit() -> None:
    run = replay("limit-of-its-own", replace(PLAIN, allowed_tools=()))
    assert isinstance(run.outcome, Done)
    assert run.outcome.stop_reason == "max_tokens"
    assert run.output.count("fake turn") == 1


@pytest.mark.parametrize("name", ["limit-of-its-own", "limit-again-and-again"])
def test_an_agent_goes_on_after_its_own_limit_without_a_break(name: str) -> None:
    run = replay(name)
    assert run.output == "".join(messages_of(name)).partition("API Error")[0]
    assert "\n\n" not in run.output


def test_an_agent_that_never_gets_under_its_limit() -> None:
    outcome = replay("limit-again-and-again").outcome
    assert isinstance(outcome, Done)
    assert outcome.stop_reason == "max_tokens"


def test_a_refusal_is_an_answer() -> None:
    run = replay("refusal")
    assert isinstance(run.outcome, Done)
    assert run.outcome.stop_reason == "refusal"
    assert run.output.startswith("I cannot \n\nAPI Error: ")


def test_words_of_claudes_own_are_the_answer_when_there_is_no_other() -> None:
    assert replay("slash-stdin").output == "/help isn't available in this environment."
    assert replay("json").output == objects_of("json")[-1]["result"]


def test_retries_are_told_and_forgotten_once_they_helped() -> None:
    run = replay("retry-529-recovers")
    assert run.of(Progress) == [Progress("claude asks its provider again, attempt 2 (HTTP 529)")]
    assert isinstance(run.outcome, Done)


@pytest.mark.parametrize("name", ["retry-401", "retry-after-50"])
def test_hopeless_retries_are_not_waited_for(name: str) -> None:
    assert replay(name).phase is Phase.ABANDONED
    assert not any(b'"result"' in line for line in stdout_of(name))


def test_a_rate_limit_says_when_to_come_back() -> None:
    outcome = replay("retry-after-50").outcome
    assert isinstance(outcome, Failed)
    assert outcome.retry_after_s == 50
