"""What llm, opencode and qwen really printed, read by the descriptions in the documents."""

from pathlib import Path

import pytest

from services.backends.base import Conversation, Options
from services.backends.custom import CustomBackend
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Message, Thinking, TokenUsage
from tests.support.documented import command

RECORDINGS = Path(__file__).parents[3] / "recordings"
CASES = [
    str(case.relative_to(RECORDINGS).with_suffix(""))
    for folder in ("llm/0.36", "opencode/1.18.33", "qwen/0.24.4")
    for case in sorted((RECORDINGS / folder).glob("*.stdout"))
]


def replay(case: str, *, chunk_bytes: int = 7) -> tuple[list[Event], Done | Failed]:
    """The events of a recording, fed as its framing wants it."""
    name = case.split("/", maxsplit=1)[0]
    conversation = CustomBackend(name, command(name)).conversation(Options("/srv/demo"), "hello")
    conversation.start()
    stdout = (RECORDINGS / f"{case}.stdout").read_bytes()
    events = [event for piece in pieces(conversation, stdout, chunk_bytes) for event in conversation.receive(piece)]
    exit_code = int((RECORDINGS / f"{case}.exit").read_text())
    return events, conversation.finish(exit_code, (RECORDINGS / f"{case}.stderr").read_text())


def pieces(conversation: Conversation, stdout: bytes, chunk_bytes: int) -> list[bytes]:
    if conversation.framing == "lines":
        return stdout.splitlines()
    return [stdout[start : start + chunk_bytes] for start in range(0, len(stdout), chunk_bytes)]


def output(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Message))


@pytest.mark.parametrize("case", CASES)
def test_every_recording_succeeds_or_fails_as_the_cli_did(case: str) -> None:
    _, outcome = replay(case)
    exit_code = int((RECORDINGS / f"{case}.exit").read_text())
    assert isinstance(outcome, Done) == (exit_code == 0), outcome
    assert outcome.exit_code == exit_code


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("llm/0.36/text", "fake turn=1 chars=5 model=fake-model sys=0 | w0 w1 w2 "),
        ("llm/0.36/drop", "fake turn=1 chars=9 model=fake-model sys=0 | w0 "),
        ("opencode/1.18.33/text", "fake turn=1 chars=5 model=fake-model sys=9548 | w0 w1 w2 "),
        ("qwen/0.24.4/text", "fake turn=1 chars=7 model=fake-model sys=22232 | w0 w1 w2 "),
    ],
)
def test_the_text_is_all_there_and_nothing_else(case: str, text: str) -> None:
    events, _ = replay(case)
    assert output(events) == text


def test_deltas_stay_deltas() -> None:
    events, _ = replay("qwen/0.24.4/text")
    assert [event.text for event in events if isinstance(event, Message)][1:] == ["w0 ", "w1 ", "w2 "]


@pytest.mark.parametrize("case", ["opencode/1.18.33/think", "qwen/0.24.4/think"])
def test_thinking_is_no_text(case: str) -> None:
    events, _ = replay(case)
    assert "".join(event.text for event in events if isinstance(event, Thinking)) == "let me think"
    assert output(events).endswith("| w0 w1 w2 ")


@pytest.mark.parametrize("case", ["opencode/1.18.33/tool", "qwen/0.24.4/tool"])
def test_a_tool_is_run_before_the_text(case: str) -> None:
    events, outcome = replay(case)
    assert "from-the-tool" in output(events)
    assert isinstance(outcome, Done)


@pytest.mark.parametrize(
    ("case", "usage"),
    [
        ("opencode/1.18.33/think", TokenUsage(2, 14, 2, 0, 3)),
        ("opencode/1.18.33/tool", TokenUsage(4, 22, 4, 0, 0)),
        ("qwen/0.24.4/tool", TokenUsage(4, 54, 4, 0, 0)),
    ],
)
def test_usage_is_what_the_cli_reported(case: str, usage: TokenUsage) -> None:
    _, outcome = replay(case)
    assert outcome.usage == usage


def test_the_session_is_told_once() -> None:
    events, _ = replay("opencode/1.18.33/tool")
    (init,) = [event for event in events if isinstance(event, Init)]
    assert init.cli_session_id.startswith("ses_")


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        ("llm/0.36/401", ErrorCode.BACKEND_AUTH_FAILED, "llm keys set"),
        ("llm/0.36/429", ErrorCode.RATE_LIMITED, "fake 429"),
        ("llm/0.36/unknown-model", ErrorCode.UNKNOWN_MODEL, "no-such-model"),
        ("llm/0.36/drop", ErrorCode.OVERLOADED, "Connection error"),
        ("opencode/1.18.33/401", ErrorCode.BACKEND_AUTH_FAILED, "opencode auth login"),
        ("opencode/1.18.33/empty", ErrorCode.BACKEND_FAILED, "must provide a message"),
        ("qwen/0.24.4/401", ErrorCode.BACKEND_AUTH_FAILED, "fake 401"),
        ("qwen/0.24.4/command", ErrorCode.BACKEND_FAILED, "not supported in this mode"),
    ],
)
def test_failures_have_their_code_and_say_what_to_do(case: str, code: ErrorCode, words: str) -> None:
    _, outcome = replay(case)
    assert isinstance(outcome, Failed)
    assert outcome.code is code
    assert words in outcome.message


@pytest.mark.parametrize("case", ["opencode/1.18.33/text", "qwen/0.24.4/text"])
def test_output_cut_short_is_no_success(case: str) -> None:
    """With exit code 0, any prefix of the lines fails that lacks the text or the configured last line."""
    name = case.split("/", maxsplit=1)[0]
    described = command(name)
    lines = (RECORDINGS / f"{case}.stdout").read_bytes().splitlines()
    for count in range(len(lines)):
        conversation = CustomBackend(name, described).conversation(Options("/srv/demo"), "hello")
        answered = any(isinstance(event, Message) for line in lines[:count] for event in conversation.receive(line))
        succeeded = isinstance(conversation.finish(0, ""), Done)
        assert succeeded == (answered and not described.final_when)
