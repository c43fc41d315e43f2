"""Whatever a CLI prints: no line raises, no text is lost or said twice, the outcome is right."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Conversation, Options
from services.backends.custom import CustomBackend
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Message, Thinking, TokenUsage, Usage
from services.settings import CustomCommand

TEXT = CustomCommand(("tool",))
LINES = CustomCommand(
    ("tool",),
    output="jsonl",
    text_path="part.0.text",
    text_when={"type": "text"},
    thinking_path="part.0.text",
    thinking_when={"type": "thought"},
    message_when={"begins": "true"},
    final_when={"type": "end"},
    error_when={"ok": "false"},
    error_path="error.message",
    error_status_path="error.status",
    session_path="session",
    usage_paths={"input_tokens": ("u.new", "u.old"), "output_tokens": ("u.out",), "cached_tokens": ("u.old",)},
    cost_path="cost",
    failures={"Log In": "backend_auth_failed"},
    login_hint="run tool login",
)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*"abu0", "type", "part", "text"]), inner),
)


def talk(command: CustomCommand = LINES) -> Conversation:
    conversation = CustomBackend("tool", command).conversation(Options("/srv/demo"), "hello")
    conversation.start()
    return conversation


def tell(conversation: Conversation, *values: Any) -> list[Event]:
    return [event for value in values for event in conversation.receive(json.dumps(value).encode())]


def said(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Message))


def piece(text: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": kind, "part": [{"text": text}], **more}


# ---------------------------------------------------------------- text


@given(ANY_TEXT, st.data())
def test_text_survives_any_cut(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)))))
    conversation = talk(TEXT)
    events: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        events += conversation.receive(raw[start:end])
    assert said(events) == text.rstrip("\n")
    assert isinstance(conversation.finish(0, ""), Done) == bool(text.rstrip("\n"))


@given(st.lists(st.binary()))
def test_bytes_that_are_no_text_raise_nothing(chunks: list[bytes]) -> None:
    conversation = talk(TEXT)
    events = [event for chunk in chunks for event in conversation.receive(chunk)]
    said(events).encode()
    conversation.finish(0, "")


def test_text_is_streamed_as_it_comes() -> None:
    conversation = talk(TEXT)
    assert conversation.framing == "raw"
    pieces = ["a", "b\n", "\n", "c", "\n"]
    assert [tuple(conversation.receive(text.encode())) for text in pieces] == [
        (Message("a"),), (Message("b"),), (), (Message("\n\nc"),), (),
    ]  # fmt: skip


def test_no_answer_is_a_failure() -> None:
    conversation = talk(TEXT)
    conversation.receive(b"\n")
    outcome = conversation.finish(0, "nothing to say\n")
    assert outcome == Failed(ErrorCode.BACKEND_FAILED, "tool printed no answer: nothing to say", 1)


@pytest.mark.parametrize(
    ("exit_code", "stderr", "code", "message", "shell_code"),
    [
        (3, "", ErrorCode.BACKEND_FAILED, "tool exited with 3: half", 3),
        (1, "Error code: 401 - no\n", ErrorCode.BACKEND_AUTH_FAILED, "Error code: 401 - no", 1),
        (1, "[API Error: 429 slow]", ErrorCode.RATE_LIMITED, "slow", 1),
        (1, "HTTP status 503", ErrorCode.OVERLOADED, "status 503", 1),
        (1, "there are 404 errors", ErrorCode.BACKEND_FAILED, "404 errors", 1),
        (-9, "", ErrorCode.BACKEND_FAILED, "tool was killed by SIGKILL", 137),
        (-250, "", ErrorCode.BACKEND_FAILED, "tool was killed by signal 250", 378),
    ],
)
def test_an_exit_code_is_an_outcome(
    exit_code: int, stderr: str, code: ErrorCode, message: str, shell_code: int
) -> None:
    conversation = talk(TEXT)
    conversation.receive(b"half")
    outcome = conversation.finish(exit_code, stderr)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.exit_code) == (code, shell_code)
    assert message in outcome.message


# ---------------------------------------------------------------- JSON lines


@given(st.lists(st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode())))
def test_no_line_raises(lines: list[bytes]) -> None:
    conversation = talk()
    for line in lines:
        conversation.receive(line)
    assert isinstance(conversation.finish(0, ""), Failed | Done)


@given(st.lists(ANY_TEXT))
def test_the_joined_text_is_what_the_cli_said(texts: list[str]) -> None:
    conversation = talk()
    events = tell(conversation, *(piece(text) for text in texts), {"type": "end"})
    assert said(events) == "".join(texts)
    assert isinstance(conversation.finish(0, ""), Done)


def test_messages_are_paragraphs() -> None:
    events = tell(talk(), {"begins": True}, piece("a"), piece("b"), piece("c", begins=True))
    assert [event.text for event in events if isinstance(event, Message)] == ["a", "b", "\n\nc"]


def test_thinking_is_apart() -> None:
    assert tell(talk(), piece("hm", "thought"), piece("yes")) == [Thinking("hm"), Message("yes")]


def test_a_condition_is_a_value_and_not_a_word_for_it() -> None:
    """``ok: "false"`` is met by false and "false", not by 0, null or nothing."""
    for value, failed in ((False, True), ("false", True), (0, False), (None, False), ("", False)):
        conversation = talk()
        tell(conversation, {"ok": value, "error": {"message": "no"}}, {"type": "end"})
        assert isinstance(conversation.finish(0, ""), Failed) == failed


def test_the_session_is_told_when_it_changes() -> None:
    assert tell(talk(), {"session": "a"}, {"session": "a"}, {"session": "b"}, {"session": 7}) == [
        Init(cli_session_id="a"), Init(cli_session_id="b"),
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "tokens", "cost"), [("total", (5, 4, 2), 0.5), ("increment", (8, 5, 2), 0.75)])
def test_usage_is_total_or_adds_up(kind: str, tokens: tuple[int, int, int], cost: float) -> None:
    described = CustomCommand(**{name: getattr(LINES, name) for name in LINES.__slots__} | {"usage_is": kind})
    conversation = talk(described)
    first, second = {"u": {"new": 3, "out": 1}, "cost": 0.25}, {"u": {"new": 3, "old": 2, "out": 4}, "cost": 0.5}
    events = tell(conversation, first, second, {"u": {"new": -1, "out": True}}, {"type": "end"})
    expected = TokenUsage(*tokens)
    assert events[-1] == Usage(expected)
    assert conversation.finish(0, "") == Done(expected, cost)


def test_the_last_line_settles_it() -> None:
    conversation = talk()
    tell(conversation, piece("a"))
    assert conversation.phase.value == "talking"
    assert "without its last event" in getattr(conversation.finish(0, ""), "message", "")
    tell(conversation, {"type": "end"})
    assert conversation.phase.value == "settled"
    assert isinstance(conversation.finish(0, ""), Done)
    assert isinstance(conversation.finish(1, ""), Failed)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"message": "no", "status": 429}, ErrorCode.RATE_LIMITED, "tool reported an error: no"),
        ({"message": "please log in"}, ErrorCode.BACKEND_AUTH_FAILED, "please log in (run tool login)"),
        ({}, ErrorCode.BACKEND_FAILED, '{"ok":false,"error":{}}'),
    ],
)
def test_a_reported_error_is_the_outcome(error: dict[str, Any], code: ErrorCode, message: str) -> None:
    conversation = talk()
    tell(conversation, {"ok": False, "error": error}, {"type": "end"})
    outcome = conversation.finish(0, "noise on stderr")
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.exit_code) == (code, 1)
    assert message in outcome.message


def test_halves_of_a_character_do_not_lose_the_line() -> None:
    (event,) = talk().receive(b'{"type":"text","part":[{"text":"a\\ud83d"}]}')
    assert isinstance(event, Message)
    assert event.text.startswith("a")
    event.text.encode()


def test_what_is_no_json_helps_to_explain() -> None:
    conversation = talk()
    conversation.receive(b"panic: out of cheese")
    assert "out of cheese" in getattr(conversation.finish(2, ""), "message", "")
