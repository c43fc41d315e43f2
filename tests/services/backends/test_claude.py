"""claude's lines, as recorded and as imagined, through its conversation."""

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Conversation, Errand, Options, Phase, Spawn
from services.backends.claude import ClaudeBackend
from services.errors import ErrorCode
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
from services.settings import ApprovalMode

RECORDINGS = Path(__file__).parents[2] / "recordings" / "claude" / "2.1.197"
NAMES = sorted(path.stem for path in RECORDINGS.glob("*.argv"))
PROTOCOLS = sorted(path.stem for path in (RECORDINGS / "protocols").glob("*.jsonl"))
PLAIN = Options(workdir="/srv/demo/work/claude")
BACKEND = ClaudeBackend()


@dataclass(frozen=True)
class Replay:
    """What came of a run's lines."""

    events: Sequence[Event]
    outcome: Done | Failed
    phase: Phase
    sent: bytes

    @property
    def output(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Message))

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def talk(options: Options = PLAIN, prompt: str = "hello") -> Conversation:
    conversation = BACKEND.conversation(options, prompt)
    conversation.start()
    return conversation


def play(lines: Sequence[bytes], exit_code: int = 0, stderr: str = "", options: Options = PLAIN) -> Replay:
    conversation = talk(options)
    conversation.data_to_send()
    events = [event for line in lines for event in conversation.receive(line)]
    phase = conversation.phase
    sent = conversation.data_to_send()
    return Replay(events, conversation.finish(exit_code, stderr), phase, sent)


def say(*messages: Mapping[str, Any]) -> list[bytes]:
    return [json.dumps(message).encode() for message in messages]


def sent(conversation: Conversation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in conversation.data_to_send().splitlines()]


# ---------------------------------------------------------------------- recordings


def stdout_of(name: str) -> list[bytes]:
    path = RECORDINGS / f"{name}.stdout"
    return path.read_bytes().split(b"\n") if path.exists() else []


ASKED_WITH = {
    name: replace(PLAIN, max_tokens=99, keep_session=True) for name in ("limit-asked", "limit-in-a-tool-call")
}
"""The options of recordings that depend on them."""


def replay(name: str, options: Options | None = None) -> Replay:
    stderr = RECORDINGS / f"{name}.stderr"
    how = RECORDINGS / f"{name}.exit"
    exit_code = json.loads(how.read_text())["exit"] if how.exists() else 0
    return play(
        stdout_of(name),
        exit_code,
        stderr.read_text() if stderr.exists() else "",
        options or ASKED_WITH.get(name, PLAIN),
    )


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


# ---------------------------------------------------------------------- what is started


def spawn(options: Options) -> Spawn:
    return BACKEND.spawn(options)


def argv_of(options: Options) -> list[str]:
    return [word for word in spawn(options).argv if isinstance(word, str)]


def flags_of(options: Options) -> list[str]:
    common = set(argv_of(PLAIN))
    return [word for word in argv_of(options) if word not in common]


def test_a_plain_run() -> None:
    plain = spawn(PLAIN)
    assert plain.argv[:2] == ("claude", "-p")
    assert "--no-session-persistence" in plain.argv
    assert plain.in_advance
    assert plain.cwd == PLAIN.workdir
    assert not plain.warnings


GUARD = ("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1")


def test_attachments_are_off_where_no_file_can_switch_them_on() -> None:
    request = json.loads(spawn(PLAIN).opening)["request"]
    assert request["subtype"] == "apply_flag_settings"
    assert GUARD in request["settings"]["env"].items()
    assert GUARD in spawn(PLAIN).environment


def test_a_limit_does_not_take_the_place_of_the_guard() -> None:
    request, *_ = sent(talk(replace(PLAIN, max_tokens=5)))
    assert GUARD in request["request"]["settings"]["env"].items()


def test_retries_are_limited() -> None:
    assert ("CLAUDE_CODE_MAX_RETRIES", "5") in spawn(replace(PLAIN, max_retries=5)).environment


@pytest.mark.parametrize(("mode", "told"), [("auto", "acceptEdits"), ("none", "dontAsk"), ("always", "default")])
def test_approval_modes(mode: ApprovalMode, told: str) -> None:
    assert flags_of(replace(PLAIN, approval_mode=mode)) == [f"--permission-mode={told}"]


def test_what_is_chosen_at_the_start() -> None:
    options = replace(PLAIN, model="--resume", max_turns=3, verbose=True)
    assert flags_of(options) == ["--model=--resume", "--max-turns=3"]


def test_allowed_tools_are_the_only_ones() -> None:
    options = replace(PLAIN, allowed_tools=("Bash(git *)", "Bash(ls *)", "Read", "mcp__db__query"))
    assert flags_of(options) == [
        "--tools=Bash,Read",
        "--allowed-tools=Bash(git *)",
        "--allowed-tools=Bash(ls *)",
        "--allowed-tools=Read",
        "--allowed-tools=mcp__db__query",
    ]
    assert flags_of(replace(PLAIN, allowed_tools=())) == ["--tools="]


def test_extra_flags_come_last_in_one_word_each() -> None:
    extra = ("--verbose", "--model", "b", "--max-budget-usd=1", "--allowedTools", "Bash(ls *) Read")
    flags = argv_of(replace(PLAIN, model="a", extra=extra))
    assert flags[-5:] == ["--model=a", "--verbose", "--model=b", "--max-budget-usd=1", "--allowedTools=Bash(ls *) Read"]


@pytest.mark.parametrize(
    ("extra", "flags"),
    [
        (("--add-dir", "/a", "/b", "--effort", "low"), ["--add-dir=/a", "--add-dir=/b", "--effort=low"]),
        (("--append-system-prompt", "- be brief", "--ide"), ["--ide"]),
        (("--effort=low", "--ide"), ["--effort=low", "--ide"]),
        (("stray", "--ide"), ["--ide"]),
    ],
)
def test_flags_of_the_configuration_may_be_any(extra: tuple[str, ...], flags: list[str]) -> None:
    assert flags_of(replace(PLAIN, extra=extra)) == flags


def test_a_sandbox_is_not_to_be_had() -> None:
    warned = spawn(replace(PLAIN, sandbox_mode="read-only"))
    assert [warning.partition(":")[0] for warning in warned.warnings] == ["sandbox_mode"]
    assert warned == spawn(PLAIN), "a warning makes no other process"


def test_prompts_and_limits_leave_the_process_the_same() -> None:
    later = replace(PLAIN, max_tokens=5, system_prompt="a", append_system_prompt="b", verbose=True)
    assert spawn(later) == spawn(PLAIN)


# ---------------------------------------------------------------------- sessions


SESSION = "7466d2b2-b0dd-4023-91a4-415415863df4"
KEPT = replace(PLAIN, keep_session=True)
RESUMED = replace(KEPT, resume=SESSION)


def test_a_session_is_kept_only_when_it_is_to_be() -> None:
    assert "--no-session-persistence" in argv_of(PLAIN)
    assert "--no-session-persistence" not in argv_of(KEPT)
    assert spawn(KEPT).in_advance


def test_a_session_is_continued_by_its_id() -> None:
    assert flags_of(replace(RESUMED, model="opus")) == [f"--resume={SESSION}", "--model=opus"]
    assert sent(talk(RESUMED, "/more")) == sent(talk(PLAIN, "/more"))


def test_a_continued_session_counts_this_run_alone() -> None:
    first, second = replay("session-first"), replay("session-second")
    assert first.of(Init)[0].cli_session_id == second.of(Init)[0].cli_session_id == SESSION
    assert (first.outcome.usage.output_tokens, second.outcome.usage.output_tokens) == (15, 1 + 20)
    assert isinstance(second.outcome, Done)
    assert second.outcome.turn_count == 2, "one that asks for the tool, and one with its result"
    assert replay("session-third").outcome.usage == TokenUsage(5 + 7 + 11, 15, 11, 7)


def test_a_copy_is_made_without_asking_the_model() -> None:
    errand = BACKEND.fork(RESUMED)
    assert errand.spawn is not None
    assert errand.conversation is not None
    assert set(errand.spawn.argv) - set(argv_of(KEPT)) == {f"--resume={SESSION}", "--fork-session"}
    errand.conversation.start()
    (message,) = sent(errand.conversation)
    assert (message["shouldQuery"], message["message"]["content"]) == (False, [])


def test_a_copy_tells_its_id() -> None:
    conversation = BACKEND.fork(RESUMED).conversation
    assert conversation is not None
    events = [event for line in stdout_of("session-copy") for event in conversation.receive(line)]
    assert events == [Init("claude-opus-4-8", "e9507bd5-13ac-40fe-86d0-00c32477c0ae")]
    assert conversation.stdin_done
    assert conversation.finish(0, "") == Done(TokenUsage(), 0.0)
    assert replay("session-of-a-copy").of(Init) == events


def test_forgetting_is_left_to_no_process() -> None:
    errand = BACKEND.forget(RESUMED)
    assert errand.spawn is None
    assert ".claude/projects/*/{session}.jsonl" in errand.leftovers


@pytest.mark.parametrize("name", ["..", "*", "", "a/../..", SESSION + "/..", SESSION + "\n"])
def test_what_is_no_id_names_no_file(name: str) -> None:
    assert BACKEND.forget(replace(RESUMED, resume=name)) == Errand()


def test_a_run_that_keeps_nothing_leaves_nothing_named_by_its_session() -> None:
    left = spawn(PLAIN).leftovers
    assert ".claude/session-env/{session}" in left
    assert all("{session}" in pattern for pattern in left)


@pytest.mark.parametrize("options", [KEPT, RESUMED, replace(PLAIN, resume=SESSION)])
def test_nothing_of_a_kept_session_is_removed_by_a_run(options: Options) -> None:
    assert spawn(options).leftovers == ()


NO_MEMORY = ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1")


def test_a_folder_that_goes_away_needs_no_memory() -> None:
    assert NO_MEMORY in spawn(replace(PLAIN, workdir="")).environment
    assert NO_MEMORY in spawn(replace(KEPT, private_folder=True)).environment
    assert NO_MEMORY not in spawn(PLAIN).environment


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
