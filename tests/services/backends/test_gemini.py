"""gemini's lines, as recorded and as imagined, through its conversation."""

import json
import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Options, Phase
from services.backends.gemini.conversation import SILENCE_S
from services.backends.gemini.signs import NEXT_LINE
from services.backends.gemini.updates import tool_name
from services.errors import ErrorCode
from services.events import Done, Failed, Init, Progress, Thinking, TokenUsage, ToolResult, ToolUse
from tests.services.backends.gemini_lines import (
    BACKEND,
    PLAIN,
    RECORDINGS,
    SESSION,
    answered,
    piece,
    play,
    say,
    stdout_of,
    talk,
    tool_call,
    tool_done,
    update,
)
from tests.services.backends.replay import Replay

NAMES = sorted(path.stem for path in RECORDINGS.glob("*.argv"))
ACP = [name for name in NAMES if name.startswith("acp-")]
PROTOCOLS = sorted(path.name for path in (RECORDINGS / "protocols").glob("*.jsonl"))
ASKED_WITH = {"acp-max-turns": replace(PLAIN, max_turns=2), "acp-unknown-model": replace(PLAIN, model="no-such-model")}


# ---------------------------------------------------------------------- recordings


def replay(name: str) -> Replay:
    stderr, how = RECORDINGS / f"{name}.stderr", RECORDINGS / f"{name}.exit"
    exit_code = json.loads(how.read_text())["exit"] if how.exists() else 0
    tail = stderr.read_text()[-4096:] if stderr.exists() else ""
    return play(stdout_of(name), exit_code, tail, ASKED_WITH.get(name, PLAIN))


FAILURES = {
    "acp-SIGKILL-stream": (ErrorCode.BACKEND_FAILED, 137, "killed by signal 9"),
    "acp-SIGTERM-stream": (ErrorCode.BACKEND_FAILED, 1, "exit code 0 before it had finished"),
    "acp-SIGTERM-tool": (ErrorCode.BACKEND_FAILED, 1, "exit code 0 before it had finished"),
    "acp-drop": (ErrorCode.BACKEND_FAILED, 1, "broke the answer off"),
    "acp-err400": (ErrorCode.BACKEND_FAILED, 1, "fake 400"),
    "acp-err401": (ErrorCode.BACKEND_AUTH_FAILED, 1, "set GEMINI_API_KEY"),
    "acp-err403": (ErrorCode.BACKEND_AUTH_FAILED, 1, "fake 403"),
    "acp-err429": (ErrorCode.RATE_LIMITED, 1, "fake 429"),
    "acp-err500": (ErrorCode.BACKEND_FAILED, 1, "fake 500"),
    "acp-err503": (ErrorCode.OVERLOADED, 1, "fake 503"),
    "acp-max-turns": (ErrorCode.BACKEND_FAILED, 1, "max_turns"),
    "acp-nocreds": (ErrorCode.BACKEND_AUTH_FAILED, 1, "run `gemini` and log in"),
    "acp-unknown-model": (ErrorCode.UNKNOWN_MODEL, 1, "'no-such-model'"),
}
"""Recordings of runs that failed: the code, the exit code, words of the message."""


@pytest.mark.parametrize("name", [name for name in ACP if name not in FAILURES])
def test_a_recorded_success(name: str) -> None:
    run = replay(name)
    assert isinstance(run.outcome, Done), run.outcome
    assert run.phase is Phase.SETTLED
    messages = [json.loads(line) for line in stdout_of(name)]
    updates = [message["params"]["update"] for message in messages if message.get("method") == "session/update"]
    texts = [it["content"]["text"] for it in updates if it["sessionUpdate"] == "agent_message_chunk"]
    assert run.output == "".join(texts)
    assert run.output.startswith("fake turn=1 ")
    quota = messages[-1]["result"]["_meta"]["quota"]["token_count"]
    assert run.outcome.usage == TokenUsage(quota["input_tokens"], quota["output_tokens"])
    assert [event.model for event in run.of(Init)] == ["gemini-2.5-flash"]


@pytest.mark.parametrize("name", FAILURES)
def test_a_recorded_failure(name: str) -> None:
    run = replay(name)
    assert isinstance(run.outcome, Failed)
    code, exit_code, words = FAILURES[name]
    assert (run.outcome.code, run.outcome.exit_code) == (code, exit_code)
    assert words in run.outcome.message


OTHER_MODES = {
    "badkey": ErrorCode.BACKEND_AUTH_FAILED,
    "err401": ErrorCode.BACKEND_AUTH_FAILED,
    "err429": ErrorCode.RATE_LIMITED,
    "maxattempts1-401-text": ErrorCode.BACKEND_AUTH_FAILED,
    "maxattempts1-429": ErrorCode.RATE_LIMITED,
    "maxattempts1-429-json": ErrorCode.RATE_LIMITED,
    "nocreds": ErrorCode.BACKEND_AUTH_FAILED,
    "unknown-model": ErrorCode.UNKNOWN_MODEL,
}
"""Recordings of text modes whose stderr or exit code says why they failed."""


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("acp-", "kept-"))])
def test_what_another_mode_printed_is_no_success(name: str) -> None:
    """Recordings of the text modes, and of an ACP session with more than one prompt, whose numbers are others."""
    run = replay(name)
    assert isinstance(run.outcome, Failed)
    assert run.outcome.code is OTHER_MODES.get(name, ErrorCode.BACKEND_FAILED)
    assert run.outcome.exit_code != 0


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_was_recorded_of_the_protocol_is_read(name: str) -> None:
    entries = [json.loads(line) for line in (RECORDINGS / "protocols" / name).read_text().splitlines()]
    run = play([json.dumps(entry.get("msg", entry)).encode() for entry in entries if entry.get("dir") != ">cli"])
    assert isinstance(run.outcome, Done | Failed)


@pytest.mark.parametrize("name", ACP)
def test_what_was_sent_is_sent_again(name: str) -> None:
    """The recordings hold the lines of this very conversation."""
    told = [json.loads(line) for line in (RECORDINGS / f"{name}.stdin").read_bytes().splitlines()]
    asked = [message for message in told if message.get("method") == "session/prompt"]
    prompt = asked[0]["params"]["prompt"][-1]["text"] if asked else "x"
    conversation = talk(prompt)
    sent = b""
    for line in stdout_of(name):
        conversation.receive(line)
        sent += conversation.data_to_send()
    opening = BACKEND.spawn(PLAIN).opening
    assert [json.loads(line) for line in (opening + sent).splitlines()] == told


# ---------------------------------------------------------------------- a prompt is a text


def parts_sent(prompt: str) -> list[str]:
    conversation = talk(prompt)
    conversation.receive(*say(SESSION))
    request = json.loads(conversation.data_to_send())
    assert request["params"]["sessionId"] == "s1"
    return [part["text"] for part in request["params"]["prompt"]]


@pytest.mark.parametrize("prompt", ["/help", " \n\t/x @y", "$help", "\ufeff\u00a0 \ufeff/x", "\u2028$", "/"])
def test_a_command_is_disarmed_by_a_line_break_before_it(prompt: str) -> None:
    assert parts_sent(prompt) == [NEXT_LINE, prompt]


@pytest.mark.parametrize("prompt", ["a /help", "!ls", "#x", "-p", "@/etc/passwd a@b.c", "\x85/help", "\u200b/x", " x "])
def test_what_is_no_command_is_sent_as_it_is(prompt: str) -> None:
    assert parts_sent(prompt) == [prompt]


@given(st.text())
def test_any_prompt_arrives_as_it_is(prompt: str) -> None:
    prompt = prompt.encode("utf-8", "replace").decode()
    *before, last = parts_sent(prompt)
    assert last == prompt
    assert before in ([], [NEXT_LINE])


def test_the_prompt_waits_for_the_session() -> None:
    conversation = talk()
    assert conversation.data_to_send() == b""
    assert conversation.patience_s is None
    assert conversation.receive(*say(SESSION)) == [Init("m1", "s1")]
    assert b'"session/prompt"' in conversation.data_to_send()


# ---------------------------------------------------------------------- events


def test_thoughts_are_divided_and_bare_of_empty_headings() -> None:
    kind = "agent_thought_chunk"
    run = play(say(SESSION, piece("**A**\none", kind), piece("****\ntwo", kind), piece("****\n", kind), answered()))
    assert run.of(Thinking) == [Thinking("**A**\none"), Thinking("\n\ntwo")]


def test_messages_around_a_tool_are_paragraphs() -> None:
    run = play(say(SESSION, piece("one"), tool_call(), tool_done(), piece("two"), piece("three"), answered()))
    assert run.output == "one\n\ntwothree"
    assert run.outcome == Done(TokenUsage(3, 5), turn_count=2)


def test_tools_called_together_are_one_turn() -> None:
    run = play(say(SESSION, *(tool_call(number) for number in range(3)), piece("x"), answered()))
    assert isinstance(run.outcome, Done)
    assert run.outcome.turn_count == 2


def test_a_tool_is_told_with_what_there_is_to_tell() -> None:
    run = replay("acp-tool")
    (use,), (result,) = run.of(ToolUse), run.of(ToolResult)
    assert (use.tool_name, use.input) == ("run_shell_command", {"command": "echo from-the-tool"})
    assert result == ToolResult(use.tool_id, "from-the-tool")
    (use,) = replay("acp-tool-read").of(ToolUse)
    assert (use.tool_name, use.input) == (
        "read_file",
        {"title": "notes.txt", "paths": ["/srv/demo/work/gemini/notes.txt"]},
    )
    (result,) = replay("acp-tool-missing").of(ToolResult)
    assert result.is_error


def test_an_edit_is_told_by_its_path() -> None:
    diff = {"type": "diff", "path": "/w/a.py", "oldText": "1", "newText": "2"}
    done = update("tool_call_update", toolCallId="t", status="completed", content=[diff])
    assert play(say(SESSION, done)).of(ToolResult) == [ToolResult("t", "changed /w/a.py")]


def test_a_permission_is_declined() -> None:
    run = replay("acp-tool-declined")
    (use,), (result,) = run.of(ToolUse), run.of(ToolResult)
    assert use.input == {"command": "touch made"}
    assert (result.tool_id, result.is_error) == (use.tool_id, True)
    assert json.loads(run.sent.splitlines()[-1])["result"] == {"outcome": {"outcome": "cancelled"}}


def test_other_requests_are_refused() -> None:
    run = play(say(SESSION, {"id": 7, "method": "fs/read_text_file", "params": {"path": "/etc/passwd"}}))
    reply = json.loads(run.sent.splitlines()[-1])
    assert (reply["id"], reply["error"]["code"]) == (7, -32601)


def test_a_change_of_mode_is_no_part_of_the_answer() -> None:
    run = play(say(SESSION, piece("[MODE_UPDATE] plan"), piece("text"), answered()))
    assert run.output == "text"
    assert run.of(Progress) == [Progress("approval mode: plan")]


@pytest.mark.parametrize(
    ("tool_id", "name"),
    [
        ("read_file__read_file_1795370552828_0", "read_file"),
        ("mcp_t_get__x__mcp_t_get__x_1795374266816_1", "mcp_t_get__x"),
        ("glob-1795374266816-1", "glob"),
        ("anything", "anything"),
        ("", ""),
    ],
)
def test_the_name_of_a_tool_is_found_in_the_id_of_its_call(tool_id: str, name: str) -> None:
    assert tool_name(tool_id) == name


# ---------------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": 400, "message": "API key not valid. Please pass a valid API key."}, ErrorCode.BACKEND_AUTH_FAILED),
        ({"code": -32000, "message": "no"}, ErrorCode.BACKEND_AUTH_FAILED),
        (
            {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."},
            ErrorCode.CONTEXT_TOO_LONG,
        ),
        ({"code": 500, "message": "models/x is not found for API version v1beta"}, ErrorCode.UNKNOWN_MODEL),
        ({"code": 500, "message": '{"error":{"code":429,"message":"slow down"}}'}, ErrorCode.RATE_LIMITED),
        ({"code": 503, "message": "try again"}, ErrorCode.OVERLOADED),
        ({"code": -32603, "message": "Internal error", "data": {"details": "odd"}}, ErrorCode.BACKEND_FAILED),
        ({"code": "x", "message": 5}, ErrorCode.BACKEND_FAILED),
    ],
)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_error_is_classified(number: int, error: Mapping[str, Any], code: ErrorCode) -> None:
    run = play(say({"id": number, "error": error}))
    assert isinstance(run.outcome, Failed)
    assert (run.outcome.code, run.outcome.exit_code, run.phase) == (code, 1, Phase.SETTLED)


@pytest.mark.parametrize(
    ("stop_reason", "options", "code", "words"),
    [
        ("max_tokens", PLAIN, ErrorCode.CONTEXT_TOO_LONG, "shorten it"),
        ("max_turn_requests", replace(PLAIN, max_turns=1), ErrorCode.BACKEND_FAILED, "max_turns"),
        ("max_turn_requests", PLAIN, ErrorCode.BACKEND_FAILED, "in circles"),
        ("cancelled", PLAIN, ErrorCode.BACKEND_FAILED, "cancelled"),
    ],
)
def test_a_stop_that_is_a_failure(stop_reason: str, options: Options, code: ErrorCode, words: str) -> None:
    run = play(say(SESSION, piece("so far"), answered(stop_reason)), options=options)
    assert isinstance(run.outcome, Failed)
    assert (run.outcome.code, run.outcome.usage) == (code, TokenUsage(3, 5))
    assert words in run.outcome.message


def test_an_answer_without_a_word_is_a_failure() -> None:
    run = play(say(SESSION, answered()))
    assert isinstance(run.outcome, Failed)
    assert "no answer" in run.outcome.message


def test_an_answer_that_used_up_its_limit_was_cut_off() -> None:
    lines = say(SESSION, piece("so far"), answered(got=5))
    for limit, stop_reason in ((4, "max_tokens"), (5, "max_tokens"), (6, "end_turn"), (0, "end_turn")):
        outcome = play(lines, options=replace(PLAIN, max_tokens=limit)).outcome
        assert isinstance(outcome, Done)
        assert outcome.stop_reason == stop_reason


def test_a_refusal_is_an_answer() -> None:
    outcome = play(say(SESSION, answered("refusal"))).outcome
    assert isinstance(outcome, Done)
    assert outcome.stop_reason == "refusal"


@pytest.mark.parametrize(("exit_code", "told"), [(3, 3), (-9, 137)])
def test_an_answer_is_no_success_when_gemini_then_fails(exit_code: int, told: int) -> None:
    outcome = play(say(SESSION, piece("x"), answered()), exit_code).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.exit_code, outcome.usage) == (told, TokenUsage(3, 5))


def test_a_silent_model_is_given_up_before_gemini_asks_it_again() -> None:
    """After 300 s it would say everything twice.  A tool may be silent for longer."""
    conversation = talk()
    patience = []
    for line in say(SESSION, piece("x"), tool_call(), tool_call(1), tool_done(), tool_done(1), piece("y")):
        conversation.receive(line)
        patience.append(conversation.patience_s)
    assert patience == [SILENCE_S, SILENCE_S, None, None, None, SILENCE_S, SILENCE_S]
    conversation.phase = Phase.ABANDONED
    outcome = conversation.finish(0, "")
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.exit_code) == (ErrorCode.TIMEOUT, 1)


def test_it_is_interrupted_by_sigterm() -> None:
    assert talk().interrupt() is signal.SIGTERM


# ---------------------------------------------------------------------- whatever it prints


KEYS = st.sampled_from((
    "id", "method", "params", "update", "sessionUpdate", "content", "text", "toolCall", "toolCallId", "result",
    "error", "sessionId", "stopReason", "_meta", "quota", "token_count", "code", "message", "data", "details",
))  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 4) | JSON,
        "method": st.sampled_from(["session/update", "session/request_permission", "x"]) | JSON,
        "params": st.fixed_dictionaries({"update": st.dictionaries(KEYS, JSON), "toolCall": JSON}) | JSON,
        "result": JSON,
        "error": JSON,
    },
)


@given(st.lists(MESSAGES, max_size=8), st.integers(-64, 255))
def test_no_message_makes_it_raise(messages: list[dict[str, Any]], exit_code: int) -> None:
    run = play([json.dumps(message).encode() for message in messages], exit_code)
    assert isinstance(run.outcome, Done | Failed)


@given(st.lists(st.binary(), max_size=5))
def test_no_bytes_make_it_raise(lines: list[bytes]) -> None:
    assert isinstance(play(lines).outcome, Failed)


@given(st.lists(st.text(min_size=1).filter(lambda text: not text.startswith("[MODE_UPDATE] "))))
def test_every_piece_is_said_once(pieces: list[str]) -> None:
    pieces = [text.encode("utf-8", "replace").decode() for text in pieces]
    assert play(say(SESSION, *map(piece, pieces), answered())).output == "".join(pieces)
