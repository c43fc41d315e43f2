"""What of a request reaches the run, and what is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from services.chat import ChatMessage, Sampling
from tests.blueprints.openai.asking import AskingOpenAI

USER = {"role": "user", "content": "Hello!"}
ASSISTANT = {"role": "assistant", "content": "Hi."}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


# ---------------------------------------------------------------------- the conversation


def test_a_lone_message_reaches_the_model_word_for_word(asking: AskingOpenAI) -> None:
    said = "  /help \n@secret «ü»\t"
    prompt = asking.started(messages=[{"role": "user", "content": said, "name": "me"}]).plan.prompt
    assert (prompt.text, prompt.messages, prompt.system_prompt) == (said, (), "")
    assert prompt.chat
    assert prompt.as_model
    assert prompt.ephemeral


def test_system_and_developer_texts_are_the_system_prompt_in_their_order(asking: AskingOpenAI) -> None:
    said = [
        {"role": "system", "content": "One."},
        USER,
        {"role": "developer", "content": [text("Two."), text("Three.")]},
        {"role": "system", "content": ""},
    ]
    run = asking.started(messages=said)
    assert run.plan.prompt.system_prompt == "One.\n\nTwo.\n\nThree."
    assert (run.plan.prompt.text, run.plan.prompt.messages) == ("Hello!", ())


def test_without_a_system_text_the_model_is_told_nothing_of_an_agent(asking: AskingOpenAI) -> None:
    options = asking.started().plan.options
    assert options.as_model
    assert options.allowed_tools == ()
    assert options.system_prompt == "You are a helpful assistant."


def test_a_conversation_reaches_it_as_turns(asking: AskingOpenAI) -> None:
    said = [USER, ASSISTANT, {"role": "assistant", "content": None}, USER, {"role": "user", "content": [text("?")]}]
    prompt = asking.started(messages=said).plan.prompt
    assert prompt.messages == (ChatMessage("user", "Hello!"), ChatMessage("assistant", "Hi."))
    assert prompt.text == "Hello!\n\n?"


def test_an_earlier_refusal_is_what_the_assistant_said(asking: AskingOpenAI) -> None:
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert asking.started(messages=[USER, refusal, USER]).plan.prompt.messages[1] == ChatMessage("assistant", "No.")


@pytest.mark.parametrize(
    ("model", "backend", "asked"),
    [("codex", "codex", ""), ("gemini/pro", "gemini", "pro"), ("gpt-5", "codex", "gpt-5"), ("x/y", "claude", "")],
)
def test_the_model_names_the_backend(asking: AskingOpenAI, model: str, backend: str, asked: str) -> None:
    run = asking.started(model=model)
    assert (run.backend, run.plan.prompt.model) == (backend, asked)


# ---------------------------------------------------------------------- how to sample


def test_everything_that_can_be_said_about_sampling(asking: AskingOpenAI) -> None:
    prompt = asking.started(temperature=0.5, top_p=1, max_completion_tokens=7, max_tokens=9, reasoning_effort="low")
    assert prompt.plan.prompt.sampling == Sampling(temperature=0.5, top_p=1.0, effort="low")
    assert prompt.plan.prompt.max_tokens == 7


def test_no_effort_is_no_thinking(asking: AskingOpenAI) -> None:
    assert asking.started(reasoning_effort="none").plan.prompt.sampling == Sampling(thinking_tokens=0)


def test_what_does_nothing_is_named(asking: AskingOpenAI) -> None:
    response = asking.post(
        temperature=0.5,
        reasoning_effort="low",
        max_tokens=5,
        user="me",
        seed=0,
        logit_bias={"1": 2},
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="none",
        unheard_of=1,
        n=1,
        store=None,
    )
    assert response.status_code == 200, response.text
    ignored = {name.strip() for name in response.headers["X-Clinvk-Ignored"].split(",")}
    assert ignored == {"temperature", "reasoning_effort", "max_tokens", "user", "seed", "logit_bias", "tools"}


def test_nothing_is_named_that_the_client_did_not_send(asking: AskingOpenAI) -> None:
    response = asking.post(unheard_of=1, stream=False, stop=None, tools=None, n=None)
    assert response.status_code == 200, response.text
    assert "X-Clinvk-Ignored" not in response.headers


@pytest.mark.parametrize("stop", ["there", ["x", "there"], ["there", ""]])
def test_a_stop_sequence_ends_the_answer(asking: AskingOpenAI, stop: Any) -> None:
    response = asking.post(stop=stop)
    assert response.json is not None
    (choice,) = response.json["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hi ", "stop")
    assert response.headers["X-Clinvk-Usage"] == "estimated"


# ---------------------------------------------------------------------- refusals

FUNCTION = {"type": "function", "function": {"name": "f"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": ...}, "model"),
    ({"model": ""}, "model"),
    ({"model": 7}, "model"),
    ({"messages": ...}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "Hello!"}, "messages"),
    ({"messages": [USER, "x"]}, "messages[1]"),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
    ({"messages": [USER, ASSISTANT]}, "messages[1].role"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": " \n"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "system", "content": None}, USER]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [text("x"), IMAGE]}]}, "messages[0].content[1].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}, "messages[0].content[0].text"),
    ({"messages": [USER, {"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[1].role"),
    ({"messages": [USER, {"role": "assistant", "tool_calls": [FUNCTION]}, USER]}, "messages[1].tool_calls"),
    ({"n": 2}, "n"),
    ({"n": 0}, "n"),
    ({"tools": [FUNCTION]}, "tools"),
    ({"tools": [FUNCTION], "tool_choice": "auto"}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
    ({"response_format": {}}, "response_format.type"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "x"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"stop": 7}, "stop"),
    ({"stop": ["a", 7]}, "stop"),
    ({"stop": list("abcde")}, "stop"),
    ({"stop": "x" * 5000}, "stop"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "1"}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"reasoning_effort": "lots"}, "reasoning_effort"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED, ids=str)
def test_what_cannot_be_done_is_refused_by_name(asking: AskingOpenAI, fields: dict[str, Any], param: str) -> None:
    found, message = asking.refused(**fields)
    assert found == param
    assert param in message


# ---------------------------------------------------------------------- headers


def test_a_header_makes_it_the_agent(asking: AskingOpenAI, tmp_path: Path) -> None:
    for headers in ({"X-Clinvk-Tools": "cli"}, {"X-Clinvk-Workdir": str(tmp_path)}):
        run = asking.started(headers=headers, messages=[{"role": "system", "content": "Be brief."}, USER])
        options = run.plan.options
        assert not options.as_model
        assert options.allowed_tools is None
        assert (options.system_prompt, options.append_system_prompt) == ("", "Be brief.")
    assert options.workdir == str(tmp_path)


def test_modes_of_the_agent(asking: AskingOpenAI) -> None:
    modes = {"X-Clinvk-Tools": "cli", "X-Clinvk-Approval-Mode": "none", "X-Clinvk-Sandbox-Mode": "read-only"}
    options = asking.started(headers=modes).plan.options
    assert (options.approval_mode, options.sandbox_mode) == ("none", "read-only")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Clinvk-Tools": "some"},
        {"X-Clinvk-Approval-Mode": "yolo"},
        {"X-Clinvk-Sandbox-Mode": "--sandbox"},
        {"X-Clinvk-Workdir": "relative"},
        {"X-Clinvk-Workdir": "/etc"},
        {"X-Clinvk-Workdir": "/"},
    ],
)
def test_a_header_that_is_wrong_is_named(asking: AskingOpenAI, headers: dict[str, str]) -> None:
    response = asking.post(headers=headers)
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"]["param"] == next(iter(headers))
    assert not asking.runs.started


def test_a_session_that_nobody_knows(asking: AskingOpenAI) -> None:
    response = asking.post(headers={"X-Clinvk-Session": "11111111-2222"})
    assert response.status_code == 404
    assert response.json is not None
    assert response.json["error"]["param"] == "X-Clinvk-Session"


def test_a_session_goes_on_with_the_last_message_alone(asking: AskingOpenAI) -> None:
    asking.runs.backends["claude"].can_resume = True
    begun = asking.client.post("/api/v1/prompt", json={"backend": "claude", "prompt": "one"})
    assert begun.json is not None
    session = begun.json["session_id"]
    response = asking.post(headers={"X-Clinvk-Session": session}, messages=[USER, ASSISTANT, {**USER, "content": "?"}])
    assert response.status_code == 200, response.text
    assert response.headers["X-Clinvk-Session"] == session
    prompt = asking.runs.started[-1].plan.prompt
    assert (prompt.text, prompt.messages, prompt.session_id) == ("?", (), session)


def test_a_session_that_a_stop_sequence_ends_goes_on(asking: AskingOpenAI) -> None:
    asking.runs.backends["claude"].can_resume = True
    begun = asking.client.post("/api/v1/prompt", json={"backend": "claude", "prompt": "one"})
    assert begun.json is not None
    session = begun.json["session_id"]
    response = asking.post(headers={"X-Clinvk-Session": session}, stop="there")
    assert response.status_code == 200, response.text
    record = asking.client.get(f"/api/v1/sessions/{session}").json
    assert record is not None
    assert (record["status"], record["turn_count"]) == ("completed", 2)


@pytest.mark.parametrize("path", ["/openai", "/"])
def test_clients_may_probe(asking: AskingOpenAI, path: str) -> None:
    assert asking.client.head(path).status_code == 200
