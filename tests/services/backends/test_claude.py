"""claude, from what it is told and what it might say."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Phase
from services.errors import ErrorCode
from services.events import Done, Failed, Message, TokenUsage, ToolResult
from tests.services.backends.claude_lines import PLAIN, argv_of, play, say, sent, talk

# ---------------------------------------------------------------------- what is said to claude


def test_the_prompt_is_the_first_line() -> None:
    assert sent(talk(prompt="hello")) == [{"type": "user", "message": {"role": "user", "content": "hello"}}]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [("/help", "\n/help"), (" /help", " /help"), ("\n/x", "\n/x"), ("-p !x #y @/etc/passwd", "-p !x #y @/etc/passwd")],
)
def test_only_a_slash_needs_a_newline(prompt: str, told: str) -> None:
    assert sent(talk(prompt=prompt))[0]["message"]["content"] == told


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_prompt_is_one_line_and_unchanged(prompt: str) -> None:
    conversation = talk(prompt=prompt)
    data = conversation.data_to_send()
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    assert json.loads(data)["message"]["content"].removeprefix("\n" if prompt.startswith("/") else "") == prompt


def test_system_prompts_go_before_the_prompt_and_not_on_the_command_line() -> None:
    extra = ("--append-system-prompt=and kind", "--effort", "low")
    options = replace(PLAIN, system_prompt="be @/etc/passwd", append_system_prompt="be brief", extra=extra)
    request, prompt = sent(talk(options))
    assert request["request"] == {
        "subtype": "initialize",
        "systemPrompt": "be @/etc/passwd",
        "appendSystemPrompt": "be brief\n\nand kind",
    }
    assert prompt["type"] == "user"
    argv = argv_of(options)
    assert "--effort=low" in argv
    assert not [word for word in argv if "be " in word or "kind" in word]


def test_a_system_prompt_of_the_extra_flags_wins() -> None:
    options = replace(PLAIN, system_prompt="field", extra=("--system-prompt", "flag"))
    assert sent(talk(options))[0]["request"] == {"subtype": "initialize", "systemPrompt": "flag"}


def test_max_tokens_is_told_after_the_start() -> None:
    request, _ = sent(talk(replace(PLAIN, max_tokens=5555)))
    assert request["request"]["subtype"] == "apply_flag_settings"
    assert request["request"]["settings"]["env"]["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "5555"


@pytest.mark.parametrize("request_id", ["initialize", "apply_flag_settings"])
def test_a_refused_request_ends_the_run(request_id: str) -> None:
    conversation = talk(replace(PLAIN, system_prompt="be"))
    refusal = {"subtype": "error", "request_id": request_id, "error": "Unsupported"}
    conversation.receive(*say({"type": "control_response", "response": refusal}))
    assert conversation.phase is Phase.ABANDONED
    outcome = conversation.finish(0, "")
    assert isinstance(outcome, Failed)
    assert "Unsupported" in outcome.message


def test_nobody_grants_a_permission() -> None:
    conversation = talk()
    conversation.data_to_send()
    conversation.receive(*say({"type": "control_request", "request_id": "7", "request": {"subtype": "can_use_tool"}}))
    (answer,) = sent(conversation)
    assert answer["response"]["subtype"] == "error"
    assert answer["response"]["request_id"] == "7"


def test_an_interrupt_is_a_signal() -> None:
    assert talk().interrupt() is signal.SIGINT


# ---------------------------------------------------------------------- endings


SUCCESS = {"type": "result", "subtype": "success", "is_error": False, "result": "hi", "total_cost_usd": 0.5}
SUCCESS_USAGE = {"usage": {"input_tokens": 3, "output_tokens": 2}}


def test_success_is_the_result_and_the_exit_code() -> None:
    lines = say({**SUCCESS, **SUCCESS_USAGE})
    assert play(lines).outcome == Done(TokenUsage(3, 2), 0.5)
    broken = play(lines, exit_code=3).outcome
    assert isinstance(broken, Failed)
    assert (broken.exit_code, broken.usage, broken.cost_usd) == (3, TokenUsage(3, 2), 0.5)


def test_an_exit_without_a_result_is_a_failure() -> None:
    outcome = play([], exit_code=0).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.exit_code) == (ErrorCode.BACKEND_FAILED, 1)


def test_a_kill_is_told_as_a_shell_does() -> None:
    outcome = play([], exit_code=-9, stderr="last words").outcome
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == 137
    assert "signal 9" in outcome.message
    assert "last words" in outcome.message


def stream(**event: Any) -> dict[str, Any]:
    return {"type": "stream_event", "event": event, "parent_tool_use_id": None}


def test_usage_so_far_is_kept_when_the_run_is_cut() -> None:
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 5}
    start = stream(type="message_start", message={"id": "m", "usage": usage})
    assert play(say(start), exit_code=-9).outcome.usage == TokenUsage(15, 1, 5)


def test_the_limit_holds_though_claude_dies_of_the_interrupt() -> None:
    delta = stream(type="message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 9})
    outcome = play(say(delta), exit_code=1, options=replace(PLAIN, max_tokens=9)).outcome
    assert outcome == Done(TokenUsage(0, 9), stop_reason="max_tokens")


def test_two_texts_of_one_message_belong_together() -> None:
    def whole(ident: str, said: str) -> dict[str, Any]:
        return {"type": "assistant", "message": {"id": ident, "content": [{"type": "text", "text": said}]}}

    assert play(say(whole("a", "one"), whole("a", " two"), whole("b", "three"))).output == "one two\n\nthree"


def test_half_a_surrogate_does_not_lose_the_line() -> None:
    line = b'{"type":"user","message":{"content":[{"type":"tool_result","content":"cut \\ud83d"}]}}'
    assert play([line]).of(ToolResult)[0].output.startswith("cut ")


def test_a_tool_may_answer_with_more_than_text() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "image", "source": {}}]
    line = {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "1", "content": content}]}}
    assert play(say(line)).events == [ToolResult("1", "a\n[image]")]


# ---------------------------------------------------------------------- anything at all


@given(st.lists(st.binary()))
def test_any_bytes_are_taken(lines: list[bytes]) -> None:
    assert isinstance(play(lines, 1).outcome, Failed)


WORDS = st.sampled_from(
    [
        "type", "subtype", "event", "message", "content", "delta", "text", "thinking", "id", "usage", "error", "model",
        "result", "modelUsage", "errors", "is_error", "stop_reason", "content_block", "response", "request_id",
        "tool_use", "tool_result", "input", "input_tokens", "stream_event", "assistant", "user", "system", "init",
        "api_retry", "attempt", "retry_delay_ms", "error_status", "control_response", "control_request", "success",
        "content_block_delta", "content_block_start", "message_start", "message_delta", "text_delta", "max_tokens",
    ]
)  # fmt: skip
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=6),
    max_leaves=20,
)
LINES = st.dictionaries(WORDS, VALUES, max_size=8)


@given(st.lists(LINES), st.integers(-15, 200))
def test_any_object_is_taken(lines: list[dict[str, Any]], exit_code: int) -> None:
    conversation = talk(replace(PLAIN, max_tokens=5))
    for line in lines:
        for event in conversation.receive(json.dumps(line).encode()):
            json.dumps(event.text if isinstance(event, Message) else "").encode()
    assert isinstance(conversation.finish(exit_code, ""), Done | Failed)


PIECES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5)
ANSWERS = st.lists(st.lists(PIECES, min_size=1, max_size=3), min_size=1, max_size=4)


def told(answers: list[list[list[str]]], *, streamed: bool) -> Iterator[dict[str, Any]]:
    """Messages of blocks of pieces, as claude prints them."""
    for number, blocks in enumerate(answers):
        ident = f"msg_{number}"
        if streamed:
            yield stream(type="message_start", message={"id": ident})
        for pieces in blocks:
            if streamed:
                yield stream(type="content_block_start", content_block={"type": "text"})
                for piece in pieces:
                    yield stream(type="content_block_delta", delta={"type": "text_delta", "text": piece})
            content = [{"type": "text", "text": "".join(pieces)}]
            yield {"type": "assistant", "message": {"id": ident, "content": content}, "parent_tool_use_id": None}


@given(ANSWERS, st.booleans())
def test_the_messages_joined_are_what_claude_said(answers: list[list[list[str]]], streamed: bool) -> None:
    run = play(say(*told(answers, streamed=streamed), SUCCESS))
    assert run.output == "\n\n".join("".join("".join(pieces) for pieces in blocks) for blocks in answers)
    assert isinstance(run.outcome, Done)


@given(PIECES, st.integers(0, 5))
def test_wherever_a_stream_breaks_off_the_rest_follows(pieces: list[str], kept: int) -> None:
    lines = list(told([[pieces]], streamed=True))
    whole = {**lines[-1], "message": {**lines[-1]["message"], "id": "another"}}
    assert play(say(*lines[: 2 + min(kept, len(pieces))], whole, SUCCESS)).output == "".join(pieces)


def test_another_answer_after_a_broken_stream_stands_apart() -> None:
    lines = list(told([[["The capital"]]], streamed=True))[:-1]
    other = {"type": "assistant", "message": {"id": "b", "content": [{"type": "text", "text": "It is Paris."}]}}
    assert play(say(*lines, other, SUCCESS)).output == "The capital\n\nIt is Paris."
