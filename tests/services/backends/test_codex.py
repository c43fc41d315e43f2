"""codex, from what it was recorded saying, and how its runs end."""

import json
import signal
from dataclasses import replace
from typing import Any

import orjson
import pytest

from services.backends.base import Phase
from services.backends.codex.conversation import RETRY_PATIENCE_S
from services.backends.codex.requests import REFUSALS, Request
from services.errors import ErrorCode
from services.events import (
    Done,
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
from tests.services.backends.codex_recordings import (
    BACKEND,
    EXEC,
    FOLDER,
    RUNS,
    SESSIONS,
    RecordedRun,
    RecordedTurn,
    lines,
    load_session,
    options,
    reported_text,
    tell,
)

SUCCESSES: dict[str, StopReason] = {
    "429-once": "end_turn",
    "as-model": "end_turn",
    "chat": "end_turn",
    "chat-of-an-agent": "end_turn",
    "drop-then-other": "end_turn",
    "drop-then-same": "end_turn",
    "escalation-declined": "end_turn",
    "file-change": "end_turn",
    "file-change-declined": "end_turn",
    "helper": "end_turn",
    "image-view": "end_turn",
    "kept": "end_turn",
    "mcp": "end_turn",
    "resumed": "end_turn",
    "resumed-copy": "end_turn",
    "resumed-otherwise": "end_turn",
    "resumed-paginated": "end_turn",
    "skill-name": "end_turn",
    "system-prompts": "end_turn",
    "talk-tool-talk": "end_turn",
    "text": "end_turn",
    "thinking": "end_turn",
    "tool": "end_turn",
    "tool-declined": "end_turn",
    "tool-failed": "end_turn",
    "truncated": "max_tokens",
    "two-messages": "end_turn",
    "web-search": "end_turn",
    "websockets-refused": "end_turn",
}
FAILURES: dict[str, tuple[ErrorCode, str]] = {
    "400": (ErrorCode.BACKEND_FAILED, "codex failed: fake 400"),
    "401": (ErrorCode.BACKEND_AUTH_FAILED, "run `codex login`"),
    "403": (ErrorCode.BACKEND_AUTH_FAILED, "run `codex login`"),
    "404": (ErrorCode.UNKNOWN_MODEL, "The model 'fake-model' does not exist"),
    "429": (ErrorCode.RATE_LIMITED, "429 Too Many Requests"),
    "429-no-retries": (ErrorCode.RATE_LIMITED, "429 Too Many Requests"),
    "500": (ErrorCode.BACKEND_FAILED, "high demand"),
    "503": (ErrorCode.OVERLOADED, "503 Service Unavailable"),
    "529": (ErrorCode.OVERLOADED, "529"),
    "bad-key": (ErrorCode.BACKEND_AUTH_FAILED, "run `codex login`"),
    "broken-config": (ErrorCode.BACKEND_FAILED, "Model provider `nosuch` not found"),
    "chatgpt-model": (ErrorCode.UNKNOWN_MODEL, "codex failed: The 'x' model is not supported when using Codex"),
    "context-too-long": (ErrorCode.CONTEXT_TOO_LONG, "context window"),
    "drop": (ErrorCode.BACKEND_FAILED, "stream disconnected"),
    "effort-refused": (ErrorCode.INVALID_REQUEST, "'minimal' is not supported"),
    "drop-for-ever": (ErrorCode.BACKEND_FAILED, "stream disconnected"),
    "interrupted": (ErrorCode.BACKEND_FAILED, "codex interrupted its turn"),
    "interrupted-in-tool": (ErrorCode.BACKEND_FAILED, "codex interrupted its turn"),
    "killed": (ErrorCode.BACKEND_FAILED, "codex was killed by signal 9 before the end of its turn"),
    "no-credentials": (ErrorCode.BACKEND_AUTH_FAILED, "Missing environment variable: `OPENAI_API_KEY`. Set it"),
    "no-provider": (ErrorCode.BACKEND_FAILED, "Connection failed"),
    "overloaded-in-stream": (ErrorCode.OVERLOADED, "at capacity"),
    "prompt-too-long": (ErrorCode.CONTEXT_TOO_LONG, "the prompt is too long"),
    "quota": (ErrorCode.RATE_LIMITED, "Quota exceeded"),
    "rate-limit-in-stream": (ErrorCode.RATE_LIMITED, "rate limit exceeded"),
    "resumed-lost": (ErrorCode.SESSION_EXPIRED, "file does not exist"),
    "resumed-nonsense": (ErrorCode.SESSION_EXPIRED, "invalid session id"),
    "resumed-unknown": (ErrorCode.SESSION_EXPIRED, "codex no longer has this session: no rollout found"),
    "resumed-unreadable": (ErrorCode.SESSION_EXPIRED, "is empty"),
    "unknown-model": (ErrorCode.UNKNOWN_MODEL, "The model 'no-such-model' does not exist"),
    "usage-limit": (ErrorCode.RATE_LIMITED, "usage limit"),
}
REWRITTEN = {"drop-then-other"}
"""Where codex itself takes back a text that was said already."""


# ---------------------------------------------------------------------- recorded runs


def test_every_recorded_run_is_judged() -> None:
    assert sorted({*SUCCESSES, *FAILURES}) == RUNS


@pytest.mark.parametrize("name", RUNS)
def test_the_conversation_says_again_what_it_said(name: str) -> None:
    run = RecordedRun.load(name)
    assert run.replay().sent == run.asked


@pytest.mark.parametrize("name", sorted(SUCCESSES))
def test_a_run_that_succeeded(name: str) -> None:
    outcome = RecordedRun.load(name).replay().outcome
    assert isinstance(outcome, Done)
    assert outcome.stop_reason == SUCCESSES[name]


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_a_run_that_failed(name: str) -> None:
    outcome = RecordedRun.load(name).replay().outcome
    assert isinstance(outcome, Failed)
    code, words = FAILURES[name]
    assert outcome.code is code
    assert words in outcome.message
    assert "bubblewrap" not in outcome.message
    assert outcome.exit_code == (-9 if name == "killed" else 1)


@pytest.mark.parametrize("name", sorted(SUCCESSES.keys() - REWRITTEN))
def test_the_messages_are_the_text_that_codex_reports(name: str) -> None:
    run = RecordedRun.load(name)
    output = run.replay().output
    assert output == reported_text(run.told)
    assert output


def test_a_text_comes_piece_by_piece() -> None:
    heard = RecordedRun.load("text").replay()
    assert [event.text for event in heard.of(Message)][1:] == ["w0 ", "w1 ", "w2 "]
    assert isinstance(heard.events[0], Init)
    assert heard.events[0].model == "fake-model"
    assert heard.events[0].cli_session_id
    assert heard.outcome == Done(TokenUsage(3, 14, 2), turn_count=1)


def test_thoughts_come_before_the_answer() -> None:
    heard = RecordedRun.load("thinking").replay()
    kinds = [type(event) for event in heard.events if isinstance(event, Thinking | Message)]
    assert kinds == sorted(kinds, key=[Thinking, Message].index)
    assert "".join(event.text for event in heard.of(Thinking)) == "**Let me** think"
    assert heard.outcome.usage.reasoning_tokens == 3


def test_messages_are_divided_by_a_blank_line() -> None:
    assert RecordedRun.load("two-messages").replay().output == "first\n\nsecond message"
    assert RecordedRun.load("talk-tool-talk").replay().output == "I will look.\n\nI have looked."


@pytest.mark.parametrize(
    ("name", "tool", "part_of_input", "output", "is_error"),
    [
        ("tool", "command_execution", {"command": "/bin/bash -lc 'echo from-the-tool'"}, "from-the-tool\n", False),
        ("tool-failed", "command_execution", {"cwd": "/srv/demo/work"}, "oops\n", True),
        ("tool-declined", "command_execution", {"cwd": "/srv/demo/work"}, "declined", True),
        ("escalation-declined", "command_execution", {"cwd": "/srv/demo/work"}, "declined", True),
        ("file-change-declined", "file_change", {}, "declined", True),
        (
            "file-change",
            "file_change",
            {"changes": [{"path": "/srv/demo/work/new.txt", "kind": {"type": "add"}, "diff": "hello\n"}]},
            "completed",
            False,
        ),
        ("web-search", "web_search", {"query": "weather in Bern"}, "", False),
        ("mcp", "mcp__demo__add", {"a": 2, "b": 3}, "5", False),
        ("mcp", "mcp__demo__add", {"b": 3}, "a is missing", True),
        ("helper", "spawnAgent", {"prompt": "SUB FAKE:n=2"}, "completed", False),
    ],
)
def test_tools(name: str, tool: str, part_of_input: dict[str, Any], output: str, is_error: bool) -> None:
    heard = RecordedRun.load(name).replay()
    candidates = [use for use in heard.of(ToolUse) if {**use.input, **part_of_input} == use.input]
    use = min(candidates, key=lambda use: len(use.input))
    assert use.tool_name == tool
    results = {result.tool_id: result for result in heard.of(ToolResult)}
    assert results[use.tool_id] == ToolResult(use.tool_id, output, is_error)
    assert results.keys() == {use.tool_id for use in heard.of(ToolUse)}


def test_a_helper_of_the_agent_is_not_heard_but_counted() -> None:
    run = RecordedRun.load("helper")
    heard = run.replay()
    assert "w0" in json.dumps(run.told)
    assert "w0" not in heard.output
    totals = {m["params"]["threadId"]: m["params"]["tokenUsage"]["total"] for m in run.told if "tokenUsage" in str(m)}
    assert len(totals) == 2
    assert heard.outcome.usage.input_tokens == sum(total["inputTokens"] for total in totals.values())
    assert heard.outcome.usage.output_tokens == sum(total["outputTokens"] for total in totals.values())


@pytest.mark.parametrize("name", sorted(SUCCESSES))
def test_usage_is_a_running_total_and_the_last_is_the_outcomes(name: str) -> None:
    heard = RecordedRun.load(name).replay()
    totals = [event.usage for event in heard.of(Usage)]
    assert totals == sorted(totals, key=lambda usage: usage.input_tokens)
    assert heard.outcome.usage == totals[-1] != TokenUsage()


def test_a_text_that_is_repeated_after_a_drop_is_said_once() -> None:
    run = RecordedRun.load("drop-then-same")
    assert json.dumps(run.told).count('"delta": "forty') == 2
    assert run.replay().output == "The answer is forty-two."


def test_a_text_that_goes_another_way_after_a_drop_is_a_message_of_its_own() -> None:
    assert RecordedRun.load("drop-then-other").replay().output == "The answer is forty\n\nThe result is 42."


def test_retries_are_told_and_do_not_end_the_run() -> None:
    heard = RecordedRun.load("429-once").replay()
    assert any("asking again" in event.message for event in heard.of(Progress))
    assert isinstance(heard.outcome, Done)


def test_a_retry_is_waited_for_with_patience_until_the_next_line() -> None:
    run = RecordedRun.load("429-once")
    conversation = BACKEND.conversation(run.options, run.prompt)
    patience = []
    for message in run.told:
        conversation.receive(orjson.dumps(message))
        patience.append((message.get("method"), conversation.patience_s))
    assert ("error", RETRY_PATIENCE_S) in patience
    assert {seconds for method, seconds in patience if method != "error"} == {None}


def test_codex_may_fall_back_from_websockets_whatever_the_limit_of_retries() -> None:
    run = replace(RecordedRun.load("websockets-refused"), options=options(max_retries=0))
    assert isinstance(run.replay().outcome, Done)


# ---------------------------------------------------------------------- older recordings, other modes


TURNS = [pytest.param(turn, id=f"{name}-{i}") for name in SESSIONS for i, turn in enumerate(load_session(name))]


def test_there_are_turns_of_all_kinds() -> None:
    statuses = [turn.values[0].status for turn in TURNS if isinstance(turn.values[0], RecordedTurn)]
    assert len(statuses) > 30
    assert set(statuses) == {"completed", "failed", "interrupted"}


@pytest.mark.parametrize("turn", TURNS)
def test_turns_of_older_sessions(turn: RecordedTurn) -> None:
    heard = turn.replay()
    assert isinstance(heard.outcome, Done if turn.status == "completed" else Failed)
    if turn.status == "completed":
        assert heard.output == reported_text(turn.messages)
    (asked, *answers) = heard.sent
    assert asked["params"]["input"] == [{"type": "text", "text": turn.prompt}]
    questions = [message for message in turn.messages if "method" in message and "id" in message]
    assert [answer["id"] for answer in answers] == [question["id"] for question in questions]


@pytest.mark.parametrize("name", EXEC)
def test_the_lines_of_exec_are_no_answer(name: str) -> None:
    stdout, stderr, code = ((FOLDER / f"{name}.{end}") for end in ("stdout", "stderr", "exit"))
    conversation = BACKEND.conversation(options(), "hello")
    for line in stdout.read_bytes().splitlines() if stdout.exists() else []:
        assert conversation.receive(line) == ()
    exit_code = json.loads(code.read_text())["exit"]
    outcome = conversation.finish(exit_code, stderr.read_text() if stderr.exists() else "")
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.BACKEND_FAILED
    assert outcome.exit_code == (exit_code or 1)
    assert "before the end of its turn" in outcome.message


# ---------------------------------------------------------------------- codex's own requests


ASKED_BY_CODEX = (
    "account/chatgptAuthTokens/refresh",
    "applyPatchApproval",
    "attestation/generate",
    "execCommandApproval",
    "item/commandExecution/requestApproval",
    "item/fileChange/requestApproval",
    "item/permissions/requestApproval",
    "item/tool/call",
    "item/tool/requestUserInput",
    "mcpServer/elicitation/request",
    "something/yet/unknown",
)


@pytest.mark.parametrize("method", ASKED_BY_CODEX)
@pytest.mark.parametrize("request_id", [0, "a-string"])
def test_whatever_codex_asks_is_answered_with_a_no(method: str, request_id: int | str) -> None:
    conversation = BACKEND.conversation(options(approval_mode="auto", sandbox_mode="full"), "hello")
    question = {"id": request_id, "method": method, "params": {"threadId": "of-a-helper"}}
    assert conversation.receive(orjson.dumps(question)) == ()
    (answer,) = lines(conversation.data_to_send())
    assert answer["id"] == request_id
    if method in REFUSALS:
        assert answer["result"] == REFUSALS[method]
    else:
        assert answer["error"]["code"] == -32601
    assert "accept" not in json.dumps(answer)


# ---------------------------------------------------------------------- endings


def test_an_interrupt_without_a_turn_is_a_signal() -> None:
    assert BACKEND.conversation(options(), "hello").interrupt() is signal.SIGTERM


@pytest.mark.parametrize("request_id", sorted({*Request} - {Request.INTERRUPT}))
def test_a_refused_request_ends_the_run(request_id: Request) -> None:
    conversation = BACKEND.conversation(options(), "hello")
    error = {"code": -32600, "message": "failed to load configuration"}
    conversation.receive(orjson.dumps({"id": request_id, "error": error}))
    assert conversation.phase is Phase.SETTLED
    outcome = conversation.finish(0, "")
    assert outcome == Failed(ErrorCode.BACKEND_FAILED, "codex failed: failed to load configuration", 1)


def test_a_completed_turn_is_no_success_when_codex_does_not_exit_well() -> None:
    run = RecordedRun.load("text")
    ended = replace(run, steps=[*run.steps[:-1], {"exit": -11, "stderr": "\x1b[31mthread 'main' panicked\x1b[0m"}])
    outcome = ended.replay().outcome
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == -11
    assert outcome.message == "codex was killed by signal 11 after its turn: thread 'main' panicked"
    assert outcome.usage == TokenUsage(3, 14, 2)


def test_nothing_counts_after_the_outcome() -> None:
    run = RecordedRun.load("401")
    late = {"method": "turn/completed", "params": {"turn": {"status": "completed"}}}
    end = next(index for index, step in enumerate(run.steps) if step.get("end") == "stdin")
    outcome = replace(run, steps=[*run.steps[: end + 1], {"from": late}, *run.steps[end + 1 :]]).replay().outcome
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.BACKEND_AUTH_FAILED


@pytest.mark.parametrize(("prompt", "fails"), [("hello", False), ("hello $HOME", True)])
def test_a_thread_may_be_compacted_unless_it_holds_the_prompt_already(prompt: str, fails: bool) -> None:
    conversation = BACKEND.conversation(options(), prompt)
    tell(conversation, "item/started", item={"type": "contextCompaction", "id": "c"})
    assert (conversation.phase is Phase.SETTLED) == fails
    conversation = BACKEND.conversation(options(), prompt)
    tell(conversation, "thread/tokenUsage/updated", tokenUsage={})
    tell(conversation, "item/started", item={"type": "contextCompaction", "id": "c"})
    assert conversation.phase is Phase.TALKING


def test_a_session_that_is_full_can_be_compacted_by_a_plain_prompt() -> None:
    outcomes = []
    for prompt in ("hello", "hello $HOME"):
        conversation = BACKEND.conversation(options(resume="t"), prompt)
        tell(conversation, "item/started", item={"type": "contextCompaction", "id": "c"})
        outcomes.append((conversation.phase, conversation.finish(0, "")))
    (plain, _), (with_dollar, outcome) = outcomes
    assert (plain, with_dollar) == (Phase.TALKING, Phase.SETTLED)
    assert isinstance(outcome, Failed)
    assert "without $" in outcome.message


@pytest.mark.parametrize("name", RUNS)
def test_every_beginning_of_a_run_has_an_outcome(name: str) -> None:
    """A run that is cut off after any line is a failure, unless its turn was over."""
    run = RecordedRun.load(name)
    conversation = BACKEND.conversation(run.options, run.prompt)
    for message in run.told:
        conversation.receive(orjson.dumps(message))
        if conversation.phase is Phase.TALKING:
            cut_off = conversation.finish(-9, "")
            assert isinstance(cut_off, Failed)
            assert cut_off.exit_code == -9
