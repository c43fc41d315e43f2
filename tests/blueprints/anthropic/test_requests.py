"""What of a request reaches the run, and what is refused by name."""

from typing import Any

import pytest

from services.chat import ChatMessage, Sampling
from tests.blueprints.anthropic.asking import AskingAnthropic

USER = {"role": "user", "content": "Hello!"}
ASSISTANT = {"role": "assistant", "content": "Hi."}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def user(*blocks: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


# ---------------------------------------------------------------------- the conversation


def test_a_lone_message_reaches_the_model_word_for_word(asking: AskingAnthropic) -> None:
    said = "  /help \n@secret «ü»\t"
    prompt = asking.started(messages=[{"role": "user", "content": said}]).plan.prompt
    assert (prompt.text, prompt.messages, prompt.system_prompt) == (said, (), "")
    assert prompt.chat
    assert prompt.as_model
    assert prompt.ephemeral


def test_a_conversation_reaches_it_as_turns(asking: AskingAnthropic) -> None:
    said = [USER, ASSISTANT, {"role": "user", "content": [text("And"), text("now?")]}]
    prompt = asking.started(messages=said, system="Be brief.").plan.prompt
    assert prompt.system_prompt == "Be brief."
    assert prompt.messages == (ChatMessage("user", "Hello!"), ChatMessage("assistant", "Hi."))
    assert prompt.text == "And\n\nnow?"


def test_consecutive_turns_of_one_role_are_one(asking: AskingAnthropic) -> None:
    prompt = asking.started(messages=[USER, ASSISTANT, ASSISTANT, USER, {"role": "user", "content": "?"}]).plan.prompt
    assert prompt.messages == (ChatMessage("user", "Hello!"), ChatMessage("assistant", "Hi.\n\nHi."))
    assert prompt.text == "Hello!\n\n?"


@pytest.mark.parametrize(
    ("system", "reaches"),
    [
        ("Be brief.", "Be brief."),
        ("", ""),
        (None, ""),
        ([], ""),
        ([text("One.", cache_control={"type": "ephemeral"}), text("Two.")], "One.\n\nTwo."),
    ],
)
def test_the_system_prompt(asking: AskingAnthropic, system: Any, reaches: str) -> None:
    assert asking.started(system=system).plan.prompt.system_prompt == reaches


def test_a_system_message_in_the_conversation_is_added(asking: AskingAnthropic) -> None:
    said = [{"role": "system", "content": "Two."}, USER, {"role": "system", "content": [text("Three.")]}]
    prompt = asking.started(system="One.", messages=said).plan.prompt
    assert (prompt.system_prompt, prompt.text, prompt.messages) == ("One.\n\nTwo.\n\nThree.", "Hello!", ())


def test_earlier_thoughts_are_dropped(asking: AskingAnthropic) -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": ""}
    veiled = {"type": "redacted_thinking", "data": "x"}
    said = [
        USER,
        {"role": "assistant", "content": [thought, text("Hi.")]},
        USER,
        {"role": "assistant", "content": [thought, veiled]},
        {"role": "user", "content": "Go on."},
    ]
    prompt = asking.started(messages=said).plan.prompt
    assert prompt.messages == (ChatMessage("user", "Hello!"), ChatMessage("assistant", "Hi."))
    assert prompt.text == "Hello!\n\nGo on."


@pytest.mark.parametrize(
    ("model", "backend", "asked"),
    [
        ("claude", "claude", ""),
        ("codex/gpt-5", "codex", "gpt-5"),
        ("claude-opus-4-8", "claude", "claude-opus-4-8"),
        ("gemini-3-pro", "gemini", "gemini-3-pro"),
        ("my-model", "claude", ""),
    ],
)
def test_the_model_names_the_backend(asking: AskingAnthropic, model: str, backend: str, asked: str) -> None:
    run = asking.started(model=model)
    assert (run.backend, run.plan.prompt.model) == (backend, asked)


# ---------------------------------------------------------------------- how to sample


def test_everything_that_can_be_said_about_sampling(asking: AskingAnthropic) -> None:
    prompt = asking.started(
        temperature=0.5, top_p=0.9, top_k=40, max_tokens=99, output_config={"effort": "low"}
    ).plan.prompt
    assert prompt.sampling == Sampling(temperature=0.5, top_p=0.9, top_k=40, effort="low")
    assert prompt.max_tokens == 99


@pytest.mark.parametrize(
    ("thinking", "sampling"),
    [
        (None, Sampling()),
        (..., Sampling()),
        ({"type": "disabled"}, Sampling(thinking_tokens=0)),
        ({"type": "between_tools"}, Sampling(thinking_tokens=0)),
        ({"type": "enabled", "budget_tokens": 1024}, Sampling(thinking_tokens=1024)),
        ({"type": "adaptive"}, Sampling(effort="high")),
    ],
)
def test_how_the_model_thinks(asking: AskingAnthropic, thinking: Any, sampling: Sampling) -> None:
    assert asking.started(thinking=thinking).plan.prompt.sampling == sampling


def test_an_effort_counts_before_the_usual_one(asking: AskingAnthropic) -> None:
    run = asking.started(thinking={"type": "adaptive"}, output_config={"effort": "low"}, temperature=1)
    assert run.plan.prompt.sampling == Sampling(effort="low")


@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}])
def test_a_wish_to_think_that_does_nothing_is_named(asking: AskingAnthropic, thinking: Any) -> None:
    assert asking.post(thinking=thinking).headers["X-Clinvk-Ignored"] == "thinking, max_tokens"


def test_what_does_nothing_is_named(asking: AskingAnthropic) -> None:
    response = asking.post(
        temperature=0.5,
        output_config={"effort": "low"},
        thinking={"type": "disabled"},
        metadata={"user_id": "me"},
        service_tier="auto",
        tools=[{"name": "f", "input_schema": {"type": "object"}}],
        tool_choice={"type": "none"},
        unheard_of={"a": 1},
        cache_control=None,
    )
    assert response.status_code == 200, response.text
    ignored = {name.strip() for name in response.headers["X-Clinvk-Ignored"].split(",")}
    assert ignored == {
        "temperature", "output_config.effort", "thinking", "max_tokens", "metadata", "service_tier", "tools",
    }  # fmt: skip


def test_nothing_is_named_that_the_client_did_not_send(asking: AskingAnthropic) -> None:
    assert asking.post().headers["X-Clinvk-Ignored"] == "max_tokens"


# ---------------------------------------------------------------------- refusals

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": ...}, "model"),
    ({"model": ""}, "model"),
    ({"max_tokens": ...}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"messages": ...}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "Hello!"}, "messages"),
    ({"messages": ["Hello!"]}, "messages[0]"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"content": "Hello!"}]}, "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": " \n"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": user("x")}, "messages[0].content[0]"),
    ({"messages": user(text("a"), text(" "))}, "messages[0].content[1].text"),
    ({"messages": user({"type": "text"})}, "messages[0].content[0].text"),
    ({"messages": user({"type": "text", "text": 5})}, "messages[0].content[0].text"),
    ({"messages": user({"type": ["text"]})}, "messages[0].content[0]"),
    ({"messages": user(text("a"), {"type": "image", "source": {}})}, "messages[0].content[1].type: 'image'"),
    ({"messages": user({"type": "document", "source": {}})}, "messages[0].content[0].type: 'document'"),
    ({"messages": [USER, {"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}, USER]},
     "messages[1].content[0].type: 'tool_use'"),
    ({"messages": user({"type": "tool_result", "tool_use_id": "t"})}, "messages[0].content[0].type: 'tool_result'"),
    ({"messages": user({"type": "from_the_future"})}, "messages[0].content[0].type: 'from_the_future'"),
    ({"messages": [ASSISTANT, USER]}, "messages[0].role"),
    ({"messages": [USER, ASSISTANT]}, "messages[1].role"),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
    ({"system": 5}, "system"),
    ({"system": [text("")]}, "system[0].text"),
    ({"system": [{"type": "image"}]}, "system[0].type"),
    ({"stop_sequences": "x"}, "stop_sequences"),
    ({"stop_sequences": [""]}, "stop_sequences[0]"),
    ({"stop_sequences": ["a", "\n\n"]}, "stop_sequences[1]"),
    ({"stop_sequences": ["x" * 5000]}, "stop_sequences[0]"),
    ({"stop_sequences": ["x"] * 65}, "stop_sequences"),
    ({"stream": "yes"}, "stream"),
    ({"temperature": 1.1}, "temperature"),
    ({"temperature": "0.5"}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"top_k": -1}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"metadata": "x"}, "metadata"),
    ({"thinking": "on"}, "thinking"),
    ({"thinking": {}}, "thinking.type"),
    ({"thinking": {"type": "sometimes"}}, "thinking.type"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "thinking.budget_tokens"),
    ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "thinking.budget_tokens"),
    ({"thinking": {"type": "adaptive"}, "temperature": 0.5}, "temperature"),
    ({"output_config": {"effort": "much"}}, "output_config.effort"),
    ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, "output_config.format"),
    ({"output_format": {"type": "json_schema", "schema": {}}}, "output_format"),
    ({"tools": [{"name": "f", "input_schema": {"type": "object"}}]}, "tools"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "auto"}}, "tools"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}, "mcp_servers"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "place"), REFUSED, ids=[f"{place}-{n}" for n, (_, place) in enumerate(REFUSED)])
def test_a_wrong_request_is_told_what_is_wrong(asking: AskingAnthropic, fields: dict[str, Any], place: str) -> None:
    message = asking.refused(**fields)
    assert message.startswith(place + ": ") or message.startswith(place + " "), message


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [], "tool_choice": {"type": "auto"}},
        {"tools": None, "tool_choice": None},
        {"mcp_servers": [], "output_format": None, "output_config": {"format": None, "effort": None}},
        {"stop_sequences": None, "stream": None, "temperature": None, "thinking": None, "metadata": None},
        {"temperature": 1, "thinking": {"type": "enabled", "budget_tokens": 1024, "display": None}},
        {"betas": ["x"], "anthropic_version": "bedrock", "context_management": {"edits": []}},
    ],
)
def test_what_says_nothing_is_taken(asking: AskingAnthropic, fields: dict[str, Any]) -> None:
    assert asking.started(**fields).plan.prompt.text == "Hello!"


@pytest.mark.parametrize("version", [None, "2023-06-01", "2026-10-21", "nonsense"])
def test_any_version_and_beta_is_taken(asking: AskingAnthropic, version: str | None) -> None:
    headers = {} if version is None else {"anthropic-version": version, "anthropic-beta": "a,b"}
    response = asking.client.post(
        "/anthropic/v1/messages?beta=true", json={"model": "x", "max_tokens": 1, "messages": [USER]}, headers=headers
    )
    assert response.status_code == 200


def test_what_a_cli_cannot_be_told_is_named_as_well(asking: AskingAnthropic) -> None:
    asking.runs.backends["claude"].max_prompt_bytes = 10
    said = [USER, ASSISTANT, {"role": "user", "content": "x" * 11}]
    assert asking.refused(messages=said).startswith("messages[2].content: has 11 bytes")
