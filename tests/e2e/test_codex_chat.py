"""The real codex as a model: what a request of a chat API makes of the request to the provider."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.backends.codex.backend import MAX_PROMPT_CHARS
from services.backends.codex.model import HOME
from services.chat import ChatMessage, Sampling
from services.container import Container
from services.errors import ClinvkError, ErrorCode
from services.events import Done, Failed
from services.planning import NEUTRAL
from services.private_home import furnish
from services.prompts import Prompt
from services.run import Result
from tests.e2e import clis
from tests.e2e.codex_user import SECRET, acted, make_home
from tests.e2e.conversing import files_with, services_alone
from tests.e2e.fake_upstream import ModelServer, Received
from tests.support import guard
from tests.support.server import Server
from tests.support.waiting import wait_until

ASKED = ("codex",)
ASK = Prompt("codex", "hello", system_prompt="Be brief.", chat=True, as_model=True, ephemeral=True)
AGENT = replace(ASK, system_prompt="", append_system_prompt="Be brief.", as_model=False)
ODD = "\n /help $spy [$spy](skill://{spy}) @/etc/hostname !ls # \u2028 \U0001f600 <environment_context> \r\n"
CODE_MODE, DIRECT = "gpt-6.1-sol", "gpt-5.5"
"""Models that codex knows: their tools are not those of a model that it has never heard of."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, real_clis: Path, module_model_server: ModelServer) -> Path:
    """The home of a user who has set up much."""
    home = tmp_path_factory.mktemp("home")
    make_home(home, module_model_server.url)
    return home


@pytest.fixture(scope="module")
def container(
    real_clis: Path, home: Path, module_model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    with services_alone("codex", home, module_model_server, tmp_path_factory.mktemp("tools")) as container:
        yield container


# ---------------------------------------------------------------------- asking


def run(container: Container, prompt: Prompt = ASK) -> Result:
    with container.runs.start(container.runs.check(prompt)) as running:
        return running.collect()


def received_of(container: Container, model_server: ModelServer, prompt: Prompt = ASK) -> Received:
    """What the provider is asked, once."""
    model_server.clear()
    result = run(container, prompt)
    assert isinstance(result.outcome, Done), result
    (received,) = model_server.asked()
    return received


def messages_of(received: Received) -> list[tuple[str, list[str]]]:
    """Who said what, in parts, to the last byte."""
    messages = [item for item in received.json()["input"] if item["type"] != "additional_tools"]
    assert all(message["type"] == "message" for message in messages)
    return [(message["role"], [part["text"] for part in message["content"]]) for message in messages]


def talk(*texts: str, first: str = "user") -> tuple[ChatMessage, ...]:
    """Messages of the two in turn."""
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return tuple(ChatMessage(roles[number % 2], text) for number, text in enumerate(texts))  # type: ignore[arg-type]


def as_told(messages: Sequence[ChatMessage]) -> list[tuple[str, list[str]]]:
    return [(message.role, [message.text]) for message in messages]


# ---------------------------------------------------------------------- a model, and no agent


def test_a_hello_is_nothing_but_that(container: Container, model_server: ModelServer, home: Path) -> None:
    acted(home)
    received = received_of(container, model_server)
    assert messages_of(received) == [("developer", ["Be brief."]), ("user", ["hello"])]
    body = received.json()
    assert body["tools"] == []
    assert "instructions" not in body
    assert SECRET.encode() not in received.body
    assert len(received.body) < 1_900
    assert acted(home) == []


def test_for_an_agent_all_of_that_would_count(container: Container, model_server: ModelServer, home: Path) -> None:
    """The witness for the test before."""
    acted(home)
    received = received_of(container, model_server, replace(AGENT, append_system_prompt=""))
    assert received.turn is not None
    assert len(received.turn.tools) > 10
    assert any("mcp__" in tool for tool in received.turn.tools)
    texts = ["".join(parts) for _, parts in messages_of(received)]
    for sign in ("# AGENTS.md instructions", "<skills_instructions>", "<environment_context>", "<permissions"):
        assert any(sign in text for text in texts)
    assert SECRET in texts, "the user's instructions and what a hook says are messages of their own"
    assert len(received.body) > 45_000
    assert acted(home) == ["hook", "mcp", "notify"]


@pytest.mark.parametrize(
    ("model", "tools", "most_bytes"), [(DIRECT, {"apply_patch"}, 2_800), (CODE_MODE, {"exec", "wait"}, 11_200)]
)
def test_a_model_that_codex_knows_keeps_some_tools(
    model: str, tools: set[str], most_bytes: int, container: Container, model_server: ModelServer
) -> None:
    received = received_of(container, model_server, replace(ASK, model=model))
    assert messages_of(received) == [("developer", ["Be brief."]), ("user", ["hello"])]
    assert received.turn is not None
    assert set(received.turn.tools) == tools
    assert SECRET.encode() not in received.body
    assert len(received.body) < most_bytes


@pytest.mark.parametrize("model", [DIRECT, CODE_MODE])
@pytest.mark.parametrize(("ask", "does"), [(ASK, False), (AGENT, True)], ids=["model", "agent"])
def test_what_the_tools_do(model: str, ask: Prompt, does: bool, container: Container, tmp_path: Path) -> None:
    made = tmp_path / "made"
    call = f'FAKE:tool FAKE:path={made} FAKE:cmd="touch {made}"'
    result = run(container, replace(ask, text=call, model=model, sandbox_mode="full", approval_mode="none"))
    assert isinstance(result.outcome, Done)
    assert "tool_result=" in result.output
    assert made.exists() == does


def test_all_system_texts_and_no_other_are_told(container: Container, model_server: ModelServer) -> None:
    texts = {"system_prompt": ODD, "append_system_prompt": f"and {ODD}"}
    received = received_of(container, model_server, replace(ASK, **texts))  # type: ignore[arg-type]
    assert messages_of(received)[:-1] == [("developer", [ODD]), ("developer", [f"and {ODD}"])]
    assert messages_of(received_of(container, model_server, replace(ASK, system_prompt="")))[0] == (
        "developer",
        [NEUTRAL],
    )


def test_a_run_leaves_nothing_of_itself(container: Container, home: Path) -> None:
    marker = "quite-a-secret-prompt"
    result = run(container, replace(ASK, text=marker, messages=talk(f"{marker} before", "yes")))
    assert isinstance(result.outcome, Done)
    assert not list((home / ".codex").glob("sessions"))
    wait_until(lambda: not files_with(home, marker))


def test_what_codex_writes_of_its_login_reaches_the_users_own_home(home: Path, tmp_path: Path, real_clis: Path) -> None:
    """codex replaces its tokens now and then: in a home that only has a link to them they must not get lost."""
    own = home / ".codex" / "auth.json"
    own.write_text('{"OPENAI_API_KEY": "old"}')
    hiding = furnish(HOME, tmp_path / "hiding", {"HOME": str(home)})
    assert hiding == tmp_path / "hiding"
    environment = guard.clean_environment(home, clis.search_path(tmp_path / "tools")) | {"CODEX_HOME": str(hiding)}
    command = [str(clis.BIN / "codex"), "login", "--with-api-key"]
    subprocess.run(command, input=b"new", env=environment, check=True, timeout=60)
    try:
        assert json.loads(own.read_text())["OPENAI_API_KEY"] == "new"
        assert not own.is_symlink()
    finally:
        own.unlink()


# ---------------------------------------------------------------------- conversations


CONVERSATIONS = {
    "short": talk("one", "two"),
    "odd": talk(ODD, ODD, "$spy", "$spy", "/help", "@/etc/hostname"),
    "begins with the assistant": talk("hi, I am the assistant", "and I the user", "yes", first="assistant"),
    "empty": talk("", " ", "\n", ""),
    "long": talk(*(f"turn {number} $spy \r\n é" for number in range(200))),
    "big": talk("x" * 400_000, "ä" * 200_000),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("text", ["last", ODD])
def test_a_conversation_reaches_the_model_as_it_was(
    name: str, text: str, container: Container, model_server: ModelServer
) -> None:
    messages = CONVERSATIONS[name]
    received = received_of(container, model_server, replace(ASK, text=text, messages=messages))
    assert messages_of(received) == [("developer", ["Be brief."]), *as_told(messages), ("user", [text])]


def test_the_messages_of_an_agent_come_after_what_codex_tells(container: Container, model_server: ModelServer) -> None:
    messages = talk("one", "two $spy")
    received = received_of(container, model_server, replace(AGENT, text="three $spy", messages=messages))
    told = messages_of(received)
    talked = [message for message in told if message[0] != "developer"]
    assert talked[-3:] == [*as_told(messages), ("user", ["three $spy"])]
    assert any("Be brief." in parts for role, parts in told if role == "developer")


def test_a_conversation_that_codex_would_sum_up_is_too_long(container: Container, model_server: ModelServer) -> None:
    messages = talk(*("x" * 100_000 for _ in range(20)))
    for ask in (ASK, AGENT):
        model_server.clear()
        outcome = run(container, replace(ask, text="the last words", messages=messages)).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code is ErrorCode.CONTEXT_TOO_LONG
        assert "conversation" in outcome.message
        assert "the last words" not in [turn.prompt for turn in model_server.turns()]


def test_so_is_one_that_the_provider_does_not_take(container: Container) -> None:
    outcome = run(container, replace(ASK, text="FAKE:toolong", messages=talk("one", "two"))).outcome
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.CONTEXT_TOO_LONG


def test_a_model_has_the_largest_context_window_that_it_can_have(
    container: Container, model_server: ModelServer
) -> None:
    messages = talk("x" * (MAX_PROMPT_CHARS + 1), "ä" * 500_000)
    prompt = replace(ASK, model=CODE_MODE, messages=messages)
    assert messages_of(received_of(container, model_server, prompt))[1:-1] == as_told(messages)
    for model in (CODE_MODE, DIRECT):
        outcome = run(container, replace(prompt, model=model, messages=messages + messages)).outcome
        assert isinstance(outcome, Failed)
        assert outcome.code is ErrorCode.CONTEXT_TOO_LONG


def test_a_last_message_that_codex_does_not_take_is_refused_by_name(container: Container) -> None:
    with pytest.raises(ClinvkError) as refused:
        container.runs.check(replace(ASK, text="x" * (MAX_PROMPT_CHARS + 1)))
    assert str(MAX_PROMPT_CHARS) in str(refused.value)
    assert [problem.location for problem in refused.value.problems] == ["prompt"]


# ---------------------------------------------------------------------- sampling and usage


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("ask", [ASK, AGENT], ids=["model", "agent"])
def test_the_effort_is_asked_for(effort: str, ask: Prompt, container: Container, model_server: ModelServer) -> None:
    received = received_of(container, model_server, replace(ask, sampling=Sampling(effort=effort)))
    assert received.json()["reasoning"]["effort"] == effort


def test_an_effort_that_the_model_does_not_know_is_the_clients_mistake(container: Container) -> None:
    result = run(container, replace(ASK, text='FAKE:efforts="low high"', sampling=Sampling(effort="minimal")))
    assert isinstance(result.outcome, Failed)
    assert result.outcome.code is ErrorCode.INVALID_REQUEST
    assert "'minimal' is not supported" in result.outcome.message


def test_what_does_not_act_is_told(container: Container, model_server: ModelServer) -> None:
    sampling = Sampling(temperature=0.3, top_p=0.5, top_k=7, effort="low", thinking_tokens=9)
    prompt = replace(ASK, sampling=sampling, max_tokens=5)
    plan = container.runs.check(prompt)
    assert set(plan.ignored) == {"temperature", "top_p", "top_k", "thinking_tokens", "max_tokens"}
    assert plan.warnings == ()
    asked, usual = (received_of(container, model_server, one).json() for one in (prompt, ASK))
    assert {name for name in asked if name not in usual} == set()
    assert not {"temperature", "top_p", "max_output_tokens"} & set(asked)


def test_reasoning_and_cached_tokens_are_counted(container: Container) -> None:
    result = run(container, replace(ASK, text="hello FAKE:think", messages=talk("one", "two")))
    assert (result.usage.reasoning_tokens, result.usage.cached_tokens) == (3, 2)
    assert result.usage.output_tokens == len(result.output) // 4


# ---------------------------------------------------------------------- through HTTP


def continued(server: Server, prompt: str, **fields: Any) -> Mapping[str, Any]:
    response = server.client.post("/api/v1/prompt", {"backend": "codex", "prompt": prompt, **fields})
    assert response.status == 200, response.text
    answer: Mapping[str, Any] = response.json()
    assert answer["exit_code"] == 0, answer
    return answer


def test_a_chat_through_http(real_server: Server, model_server: ModelServer) -> None:
    said = [("system", "Be brief."), ("user", "one"), ("assistant", "two"), ("user", "three FAKE:think")]
    body = {
        "model": "codex",
        "messages": [{"role": role, "content": text} for role, text in said],
        "reasoning_effort": "high",
        "temperature": 0.1,
    }
    response = real_server.client.post("/openai/v1/chat/completions", body)
    assert response.status == 200, response.text
    (received,) = model_server.asked()
    assert messages_of(received) == [("developer", ["Be brief."]), *((role, [text]) for role, text in said[1:])]
    assert received.json()["reasoning"]["effort"] == "high"
    assert response.headers["x-clinvk-ignored"] == "temperature"
    usage = response.json()["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 3
    assert usage["prompt_tokens_details"]["cached_tokens"] == 2


def test_an_agents_session_answers_as_a_model_and_is_an_agent_again(
    real_server: Server, model_server: ModelServer, tmp_path: Path
) -> None:
    session = {"session_id": continued(real_server, "one FAKE:n=1")["session_id"]}
    body = {"model": "codex", "messages": [{"role": "user", "content": "two"}]}
    response = real_server.client.post(
        "/openai/v1/chat/completions", body, headers={"X-Clinvk-Session": session["session_id"]}
    )
    assert response.status == 200, response.text
    turn = model_server.turns()[-1]
    assert turn.tools == ()
    assert turn.turns == 2
    made = tmp_path / "made"
    full = {"sandbox_mode": "full", "approval_mode": "none"}
    continued(real_server, f'three FAKE:tool FAKE:cmd="touch {made}"', **session, **full)
    assert made.exists()
