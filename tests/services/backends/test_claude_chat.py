"""What claude is told where it is a model: its flags, the turns before a prompt, how the model is to be asked."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Conversation, Options, Phase
from services.backends.claude import ClaudeBackend
from services.chat import ChatMessage, Role, Sampling
from services.errors import ErrorCode
from services.events import Done, Failed, Init
from tests.support.server import Server

BACKEND = ClaudeBackend()
SONNET = "claude-sonnet-4-5"
MODEL = Options(workdir="", model=SONNET, system_prompt="Be brief.", allowed_tools=(), as_model=True)
AGENT = Options(workdir="", model=SONNET)


def talk(options: Options = MODEL, prompt: str = "hello") -> Conversation:
    conversation = BACKEND.conversation(options, prompt)
    conversation.start()
    return conversation


def sent(conversation: Conversation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in conversation.data_to_send().splitlines()]


def messages(*texts: str, first: Role = "user") -> tuple[ChatMessage, ...]:
    """Messages of the two in turn."""
    roles: tuple[Role, Role] = ("user", "assistant") if first == "user" else ("assistant", "user")
    return tuple(ChatMessage(roles[number % 2], text) for number, text in enumerate(texts))


# ---------------------------------------------------------------------- what is started


def words_of(options: Options) -> set[str]:
    return {word for word in BACKEND.spawn(options).argv if isinstance(word, str)}


def test_a_model_has_no_tools_servers_or_settings() -> None:
    assert words_of(MODEL) - words_of(AGENT) == {"--tools=", "--strict-mcp-config", "--setting-sources="}


def test_a_model_reads_no_memory_wherever_it_works() -> None:
    for options in (MODEL, replace(MODEL, workdir="/srv")):
        variables = dict(BACKEND.spawn(options).environment)
        assert variables["CLAUDE_CODE_DISABLE_CLAUDE_MDS"] == "1"
        assert variables["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] == "1"
        assert variables["CLAUDE_CODE_DISABLE_ATTACHMENTS"] == "1"
    assert "CLAUDE_CODE_DISABLE_CLAUDE_MDS" not in dict(BACKEND.spawn(AGENT).environment)


def test_what_is_for_tools_makes_no_other_process() -> None:
    same = replace(MODEL, approval_mode="none", sandbox_mode="full", max_turns=3)
    assert BACKEND.spawn(same) == BACKEND.spawn(MODEL)
    assert not BACKEND.spawn(same).warnings


def test_nothing_of_a_prompt_is_in_its_process() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.5, top_k=5, effort="low", thinking_tokens=2000)
    prompt = replace(MODEL, messages=messages("a", "b"), sampling=sampling, max_tokens=5, system_prompt="Be kind.")
    assert BACKEND.spawn(prompt) == BACKEND.spawn(MODEL)
    assert BACKEND.spawn(prompt).in_advance


def test_of_the_configured_flags_those_count_that_are_about_the_model() -> None:
    extra = (
        "--add-dir", "/a", "/b", "--mcp-config=x.json", "--allowed-tools=Bash", "--ide", "--setting-sources=user",
        "--append-system-prompt=Be rude.", "--system-prompt", "You are a pirate.", "--settings={}",
        "--fallback-model", "sonnet",
    )  # fmt: skip
    options = replace(MODEL, extra=extra)
    assert words_of(options) - words_of(MODEL) == {"--settings={}", "--fallback-model=sonnet"}
    assert sent(talk(options))[0]["request"] == {"subtype": "initialize", "systemPrompt": "Be brief."}


def test_a_model_leaves_nothing_to_be_removed() -> None:
    assert BACKEND.spawn(MODEL).leftovers == ()


# ---------------------------------------------------------------------- earlier turns

INIT = {"type": "system", "subtype": "init", "model": SONNET, "session_id": "s"}
TAKEN = {"type": "result", "subtype": "success", "is_error": False, "result": "", "num_turns": 0, "usage": {}}
DONE = {**TAKEN, "result": "hi", "num_turns": 1}


def heard(conversation: Conversation, *lines: dict[str, Any]) -> list[Any]:
    return [event for line in lines for event in conversation.receive(json.dumps(line).encode())]


def said(lines: Sequence[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    """Who said what, and whether it is to be answered."""
    texts = (line["message"]["content"] for line in lines if line["type"] != "control_request")
    roles = [line["type"] for line in lines if line["type"] != "control_request"]
    asks = [line.get("shouldQuery", line["type"] == "user") for line in lines if line["type"] != "control_request"]
    return [
        (role, text if isinstance(text, str) else text[0]["text"], ask)
        for role, text, ask in zip(roles, texts, asks, strict=True)
    ]


def test_turns_are_told_one_after_the_other() -> None:
    conversation = talk(replace(MODEL, messages=messages("zero", "one", "two", "/three", "four", first="assistant")))
    assert said(sent(conversation)) == [("assistant", "zero", False), ("user", "one", False)]
    heard(conversation, INIT)
    assert not sent(conversation), "a user's turn has its place only when claude says so"
    heard(conversation, TAKEN)
    assert said(sent(conversation)) == [("assistant", "two", False), ("user", "\n/three", False)]
    heard(conversation, INIT, TAKEN)
    assert said(sent(conversation)) == [("assistant", "four", False), ("user", "hello", True)]
    heard(conversation, INIT, DONE)
    assert conversation.phase is Phase.SETTLED
    assert isinstance(conversation.finish(0, ""), Done)


def test_an_answer_is_a_block_of_text() -> None:
    answer = sent(talk(replace(MODEL, messages=messages("/x @y", first="assistant"))))[1]
    assert answer["message"] == {"role": "assistant", "content": [{"type": "text", "text": "/x @y"}]}


def test_it_is_introduced_once() -> None:
    conversation = talk(replace(MODEL, messages=messages("one", "two", "three", "four")))
    assert heard(conversation, INIT, TAKEN, INIT, TAKEN, INIT) == [Init(SONNET, "s")]


def test_a_turn_that_is_not_taken_as_one_ends_the_run() -> None:
    conversation = talk(replace(MODEL, messages=messages("one", "two")))
    heard(conversation, {**TAKEN, "result": "Unknown command: /one"})
    assert conversation.phase is Phase.ABANDONED
    outcome = conversation.finish(-9, "")
    assert isinstance(outcome, Failed)
    assert "Unknown command: /one" in outcome.message


def test_a_failure_among_the_turns_is_one_of_the_run() -> None:
    conversation = talk(replace(MODEL, messages=messages("one", "two")))
    conversation.data_to_send()
    heard(conversation, {**TAKEN, "is_error": True, "result": "Not logged in"})
    assert not sent(conversation)
    outcome = conversation.finish(1, "")
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.BACKEND_AUTH_FAILED


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TURNS = st.lists(st.builds(ChatMessage, st.sampled_from(["user", "assistant"]), TEXTS), max_size=12)


@given(TURNS, TEXTS)
def test_whatever_the_turns_each_is_told_once_and_in_order(turns: list[ChatMessage], prompt: str) -> None:
    conversation = talk(replace(MODEL, messages=tuple(turns)), prompt)
    told: list[tuple[str, str, bool]] = []
    while part := said(sent(conversation)):
        assert [role for role, _, _ in part].count("user") == 1
        assert part[-1][0] == "user", "what is told last is what an answer is awaited to"
        told += part
        heard(conversation, DONE if part[-1][2] else TAKEN)
    expected = [(turn.role, turn.text) for turn in turns if turn.text.strip()] + [("user", prompt)]
    assert [(role, text) for role, text, _ in told] == [
        (role, f"\n{text}" if role == "user" and text.startswith("/") else text) for role, text in expected
    ]
    assert isinstance(conversation.finish(0, ""), Done)


# ---------------------------------------------------------------------- how the model is asked


def requests_of(options: Options) -> list[dict[str, Any]]:
    return [line["request"] for line in sent(talk(options)) if line["type"] == "control_request"]


def variables_of(options: Options) -> dict[str, str]:
    (settings,) = [one["settings"] for one in requests_of(options) if one["subtype"] == "apply_flag_settings"]
    env: dict[str, str] = settings["env"]
    return env


def asked(**fields: Any) -> Options:
    return replace(MODEL, sampling=Sampling(**fields))


def test_nothing_is_set_that_nobody_asked_for() -> None:
    assert [one["subtype"] for one in requests_of(MODEL)] == ["initialize"]


@pytest.mark.parametrize("options", [asked(temperature=0.5), asked(effort="low"), replace(MODEL, max_tokens=2000)])
def test_the_guards_stay_whatever_is_set(options: Options) -> None:
    options = replace(options, model="claude-sonnet-4-6")
    variables = variables_of(options)
    assert variables["CLAUDE_CODE_DISABLE_ATTACHMENTS"] == "1"
    assert variables["CLAUDE_CODE_MAX_RETRIES"] == "2"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"temperature": 0.0}, {"temperature": 0.0, "thinking": {"type": "disabled"}}),
        ({"temperature": 1}, {"temperature": 1}),
        ({"temperature": 2.0}, {"temperature": 1.0}),
        ({"top_p": 0.95}, {"top_p": 0.95}),
        ({"top_p": 0.94}, {"top_p": 0.94, "thinking": {"type": "disabled"}}),
        ({"top_k": 1}, {"top_k": 1, "thinking": {"type": "disabled"}}),
        ({"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "thinking": {"type": "disabled"}}),
        ({"temperature": 0.5, "thinking_tokens": 2000}, {"temperature": 0.5}),
    ],
)
def test_what_goes_into_the_body(fields: dict[str, Any], body: dict[str, Any]) -> None:
    assert json.loads(variables_of(asked(**fields))["CLAUDE_CODE_EXTRA_BODY"]) == body


def budgets(options: Options) -> list[int]:
    requests = (one for one in requests_of(options) if one["subtype"] == "set_max_thinking_tokens")
    return [one["max_thinking_tokens"] for one in requests]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (MODEL, []),
        (asked(thinking_tokens=0), [0]),
        (asked(thinking_tokens=5000), [5000]),
        (replace(MODEL, max_tokens=8000), [0]),
        (replace(asked(effort="low"), max_tokens=8000), []),
        (replace(asked(effort="low"), max_tokens=1024), [0]),
        (replace(asked(thinking_tokens=5000), max_tokens=8000), [5000]),
        (replace(AGENT, max_tokens=1025), []),
        (replace(AGENT, max_tokens=1024), [0]),
    ],
)
def test_how_much_it_may_think(options: Options, told: list[int]) -> None:
    assert budgets(options) == told


@pytest.mark.parametrize(("word", "told"), [("minimal", "low"), ("low", "low"), ("max", "max")])
def test_effort_is_a_setting(word: str, told: str) -> None:
    (settings,) = [one for one in requests_of(asked(effort=word)) if one["subtype"] == "apply_flag_settings"]
    assert settings["settings"]["effortLevel"] == told


ALL = {"max_tokens", "temperature", "top_p", "top_k", "effort", "thinking_tokens"}
SAMPLES = {"temperature", "top_p", "top_k"}


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ("", {*SAMPLES, "thinking_tokens"}),
        ("opus", {*SAMPLES, "thinking_tokens"}),
        ("haiku", {"effort"}),
        ("claude-3-5-haiku-20241022", {"effort", "thinking_tokens"}),
        ("claude-3-7-sonnet-latest", {"effort"}),
        ("claude-opus-4-20250514", {"effort"}),
        ("claude-opus-4-1", {"effort"}),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"effort"}),
        ("claude-sonnet-4-5@20250929", {"effort"}),
        ("claude-sonnet-4-5[1m]", {"effort"}),
        ("anthropic/claude-opus-4.5", set()),
        ("claude-opus-4-6", {"thinking_tokens"}),
        ("Claude-Sonnet-4-6", {"thinking_tokens"}),
        ("claude-opus-4-7", {*SAMPLES, "thinking_tokens"}),
        ("claude-opus-4-8-20260601", {*SAMPLES, "thinking_tokens"}),
        ("claude-opus-4-10", {*SAMPLES, "thinking_tokens"}),
        ("claude-fable-5", {*SAMPLES, "thinking_tokens"}),
        ("glm-4.6", {"thinking_tokens"}),
    ],
)
def test_what_a_model_honours(model: str, refused: set[str]) -> None:
    options = replace(asked(thinking_tokens=2000), model=model)
    assert BACKEND.honoured(options) == ALL - refused


@pytest.mark.parametrize(
    ("model", "can"), [("claude-opus-4-8", True), ("claude-sonnet-5", True), ("claude-fable-5", False)]
)
def test_not_every_model_can_do_without_thoughts(model: str, can: bool) -> None:
    assert ("thinking_tokens" in BACKEND.honoured(replace(asked(thinking_tokens=0), model=model))) == can


def test_a_temperature_goes_before_a_top_p() -> None:
    assert "top_p" not in BACKEND.honoured(asked(temperature=0.5, top_p=0.5))


def test_a_model_of_the_configured_flags_is_the_one_that_is_asked() -> None:
    extra = ("--model", "haiku", "--model=claude-opus-4-8")
    assert "temperature" not in BACKEND.honoured(replace(asked(temperature=0.5), extra=extra))


def test_what_it_honours_at_all() -> None:
    assert BACKEND.honours == ALL
    assert BACKEND.takes_messages


# ---------------------------------------------------------------------- over HTTP

TALK = [
    {"role": "user", "content": "/one @secret.txt"},
    {"role": "assistant", "content": "/two"},
    {"role": "user", "content": "three"},
    {"role": "assistant", "content": "four"},
    {"role": "user", "content": "/five @secret.txt"},
]
TOLD = [
    ["user", "\n/one @secret.txt"],
    ["assistant", "/two"],
    ["user", "three"],
    ["assistant", "four"],
    ["user", "\n/five @secret.txt"],
]
ROUTES = [
    ("/openai/v1/chat/completions", {"messages": [{"role": "developer", "content": "Be brief."}, *TALK]}),
    ("/anthropic/v1/messages", {"messages": TALK, "system": "Be brief."}),
]


@pytest.mark.parametrize("model", [f"claude/{SONNET}", SONNET])
@pytest.mark.parametrize(("path", "body"), ROUTES)
def test_over_http(path: str, body: dict[str, Any], model: str, server: Server) -> None:
    response = server.client.post(path, {"model": model, "temperature": 0.5, "max_tokens": 2000, **body})
    assert response.status == 200, response.text
    assert "X-Clinvk-Ignored" not in response.headers
    asked = server.clis.entries("model")[-1]
    assert (asked["system"], asked["messages"], asked["tools"]) == ("Be brief.", TOLD, [])
    assert asked["generation"] == {
        "max_tokens": 2000,
        "temperature": 0.5,
        "thinking": {"type": "disabled"},
    }
    assert not asked["attaches"]


@pytest.mark.parametrize(("path", "body"), ROUTES)
def test_what_the_default_model_refuses_is_told_over_http(path: str, body: dict[str, Any], server: Server) -> None:
    response = server.client.post(path, {"model": "claude", "temperature": 0.5, "top_p": 0.5, "max_tokens": 99, **body})
    assert response.headers["X-Clinvk-Ignored"] == "temperature, top_p"
    assert server.clis.entries("model")[-1]["generation"] == {"max_tokens": 99, "thinking": 0}


def test_a_limit_ends_the_run_over_http(server: Server) -> None:
    messages = [{"role": "user", "content": "FAKE:n=9"}]
    openai = server.client.post(
        "/openai/v1/chat/completions", {"model": "claude", "max_tokens": 3, "messages": messages}
    )
    (choice,) = openai.json()["choices"]
    assert (choice["finish_reason"], choice["message"]["content"][-6:]) == ("length", "w0 w1 ")
    anthropic = server.client.post("/anthropic/v1/messages", {"model": "claude", "max_tokens": 3, "messages": messages})
    assert anthropic.json()["stop_reason"] == "max_tokens"
    assert anthropic.json()["content"][0]["text"].endswith("w0 w1 ")
    assert anthropic.json()["usage"]["output_tokens"] == 9, "as the provider has counted"
    server.wait_until_idle()


def test_all_turns_of_a_long_conversation(server: Server) -> None:
    turns = [{"role": ("user", "assistant")[number % 2], "content": f"turn {number}"} for number in range(201)]
    response = server.client.post("/openai/v1/chat/completions", {"model": "claude", "messages": turns})
    assert response.status == 200, response.text
    assert server.clis.entries("model")[-1]["messages"] == [[turn["role"], turn["content"]] for turn in turns]
