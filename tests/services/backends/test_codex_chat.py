"""codex as a model: what it is told for a request of a chat API, and what a process makes of that."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Options, Phase
from services.backends.codex.backend import CodexBackend
from services.backends.codex.model import FEATURES, HOME, model_settings
from services.backends.codex.requests import Request
from services.chat import ChatMessage, Role, Sampling
from services.container import Container, create_container
from services.errors import ErrorCode
from services.events import Done, Failed, TokenUsage
from services.planning import NEUTRAL
from services.prompts import Prompt
from services.settings import BackendSettings, Config, ServerSettings
from tests.fake_cli.install import FakeClis, seen
from tests.services.backends.codex_recordings import RecordedRun, lines, options
from tests.support.server import Server

BACKEND = CodexBackend()
MODEL = options(system_prompt="Be brief.", as_model=True, allowed_tools=())
BEFORE = (ChatMessage("user", "one"), ChatMessage("assistant", "two"))
TALK = replace(MODEL, messages=BEFORE)
MESSAGES = st.lists(st.builds(ChatMessage, st.sampled_from(["user", "assistant"]), st.text()), max_size=6).map(tuple)

ANSWERS: Mapping[Request, Mapping[str, Any]] = {
    Request.INITIALIZE: {},
    Request.READ_CONFIG: {"config": {"mcp_servers": {"one": {"command": "x"}, "odd name": {"url": "http://x"}}}},
    Request.START_THREAD: {"thread": {"id": "t"}, "model": "m"},
    Request.RESUME_THREAD: {"thread": {"id": "t"}, "model": "m"},
    Request.ADD_MESSAGES: {},
    Request.START_TURN: {"turn": {"id": "u"}},
}


def asked_of(chosen: Options, prompt: str = "hello") -> dict[str, Any]:
    """The parameters of all that codex is asked, by method, when it answers everything."""
    spawn, conversation = BACKEND.spawn(chosen), BACKEND.conversation(chosen, prompt)
    conversation.start()
    new = lines(spawn.opening)
    asked: dict[str, Any] = {}
    while new:
        request = new.pop(0)
        asked[request["method"]] = request.get("params")
        if "id" in request:
            answer = {"id": request["id"], "result": ANSWERS[Request(request["id"])]}
            conversation.receive(orjson.dumps(answer))
            new += lines(conversation.data_to_send())
    return asked


# ---------------------------------------------------------------------- a model, and no agent


def test_a_model_is_told_what_it_is_when_the_thread_opens() -> None:
    asked = asked_of(MODEL)
    assert list(asked) == ["initialize", "initialized", "config/read", "thread/start", "turn/start"]
    assert asked["initialize"]["capabilities"]["experimentalApi"] is True
    assert asked["thread/start"] == {
        "ephemeral": True,
        "baseInstructions": "Be brief.",
        "developerInstructions": "",
        "environments": [],
        "config": model_settings({"mcp_servers": {"one": {}, "odd name": {}}}),
    }
    assert asked["turn/start"]["environments"] == []
    assert asked_of(replace(MODEL, append_system_prompt="x"))["thread/start"]["developerInstructions"] == "x"


def test_an_agent_is_told_nothing_of_it() -> None:
    asked = asked_of(replace(MODEL, as_model=False))
    assert list(asked) == ["initialize", "initialized", "thread/start", "turn/start"]
    assert asked["thread/start"] == {"ephemeral": True, "baseInstructions": "Be brief."}
    assert asked["turn/start"].keys() == {"threadId", "input"}
    assert BACKEND.spawn(replace(MODEL, as_model=False)).home is None


def test_every_mcp_server_of_the_users_is_off() -> None:
    config = asked_of(MODEL)["thread/start"]["config"]
    assert config["mcp_servers"] == {"one": {"enabled": False}, "odd name": {"enabled": False}}
    assert config["features"] == dict.fromkeys(FEATURES, False)
    assert model_settings({"mcp_servers": None})["mcp_servers"] == {}


def test_the_settings_are_those_of_the_folder() -> None:
    assert asked_of(MODEL)["config/read"] == {}
    assert asked_of(replace(MODEL, workdir="/srv/demo"))["config/read"] == {"cwd": "/srv/demo"}


def test_a_session_goes_on_as_a_model() -> None:
    asked = asked_of(replace(MODEL, resume="t", workdir="/srv/demo", keep_session=True))
    assert list(asked) == ["initialize", "initialized", "config/read", "thread/resume", "turn/start"]
    assert asked["thread/resume"]["config"] == asked_of(MODEL)["thread/start"]["config"]
    assert asked["thread/resume"]["baseInstructions"] == "Be brief."
    assert asked["turn/start"]["environments"] == []


def test_a_kept_thread_is_one_of_the_users_own_home() -> None:
    """In another home codex would note down that the thread lies there."""
    assert BACKEND.spawn(MODEL).home is HOME
    assert BACKEND.spawn(replace(MODEL, keep_session=True)).home is None
    assert BACKEND.spawn(replace(MODEL, keep_session=True, resume="t")).home is None


def test_a_process_for_a_model_fits_every_request() -> None:
    sampling = Sampling(effort="high")
    other = replace(MODEL, system_prompt="x", append_system_prompt="y", messages=BEFORE, sampling=sampling, model="m")
    assert BACKEND.spawn(other) == BACKEND.spawn(MODEL)
    assert BACKEND.spawn(MODEL).in_advance


def test_that_no_tool_is_allowed_is_no_news_to_a_model() -> None:
    assert BACKEND.spawn(MODEL).warnings == ()
    assert BACKEND.spawn(replace(MODEL, as_model=False)).warnings != ()


# ---------------------------------------------------------------------- the messages before


def items(chosen: Options, prompt: str = "hello") -> list[tuple[str, str, str]]:
    """What is put into the thread: role, kind and text of each item."""
    added = asked_of(chosen, prompt).get("thread/inject_items") or {"items": []}
    assert all(item["type"] == "message" and len(item["content"]) == 1 for item in added["items"])
    return [(item["role"], part["type"], part["text"]) for item in added["items"] for part in item["content"]]


@given(MESSAGES, st.text(min_size=1))
def test_every_message_is_put_into_the_thread_and_the_prompt_is_asked_once(
    messages: tuple[ChatMessage, ...], prompt: str
) -> None:
    chosen = replace(MODEL, messages=messages)
    kinds: dict[Role, str] = {"user": "input_text", "assistant": "output_text"}
    told = [(message.role, kinds[message.role], message.text) for message in messages]
    asked = [part["text"] for part in asked_of(chosen, prompt)["turn/start"]["input"]]
    assert [*items(chosen, prompt), *(("user", "input_text", text) for text in asked)] == [
        *told,
        ("user", "input_text", prompt),
    ]


def test_a_long_conversation_goes_in_one_piece() -> None:
    messages = tuple(ChatMessage("user" if n % 2 else "assistant", f"turn {n}") for n in range(200))
    assert [text for _, _, text in items(replace(MODEL, messages=messages))] == [f"turn {n}" for n in range(200)]


@pytest.mark.parametrize("chosen", [TALK, replace(TALK, as_model=False)])
def test_a_conversation_that_codex_sums_up_is_too_long(chosen: Options) -> None:
    conversation = BACKEND.conversation(chosen, "hello")
    begun = {"method": "item/started", "params": {"item": {"type": "contextCompaction", "id": "c"}}}
    conversation.receive(orjson.dumps(begun))
    assert conversation.phase is Phase.SETTLED
    outcome = conversation.finish(0, "")
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.CONTEXT_TOO_LONG
    assert outcome.message.startswith("the conversation is too long")


# ---------------------------------------------------------------------- sampling


def test_what_acts() -> None:
    assert BACKEND.honours == {"effort"}
    assert BACKEND.takes_messages
    assert BACKEND.takes_system_prompt


@pytest.mark.parametrize("as_model", [True, False])
def test_the_effort_is_that_of_the_turn(as_model: bool) -> None:
    chosen = replace(MODEL, as_model=as_model, sampling=Sampling(effort="xhigh", temperature=0.1, thinking_tokens=5))
    turn = asked_of(chosen)["turn/start"]
    assert turn["effort"] == "xhigh"
    assert turn.keys() - {"environments"} == {"threadId", "input", "effort"}
    assert "effort" not in asked_of(replace(chosen, sampling=Sampling(temperature=0.1)))["turn/start"]


def test_an_effort_that_the_model_does_not_know_is_the_clients_mistake() -> None:
    outcome = RecordedRun.load("effort-refused").replay().outcome
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.INVALID_REQUEST


def test_the_tokens_of_a_recorded_model() -> None:
    outcome = RecordedRun.load("as-model").replay().outcome
    assert isinstance(outcome, Done)
    assert outcome.usage == TokenUsage(4, 14, 2, reasoning_tokens=3)


# ---------------------------------------------------------------------- a process that speaks as codex does


CONFIG = 'model = "m"\n[mcp_servers."odd name"]\ncommand = "nothing"\n'


@pytest.fixture
def user(home: Path) -> Path:
    """The folder of a user of codex with instructions and an MCP server."""
    folder = home / ".codex"
    folder.mkdir()
    (folder / "AGENTS.md").write_text("Be a pirate.")
    (folder / "config.toml").write_text(CONFIG)
    return folder


@pytest.fixture
def container(fake_clis: FakeClis, home: Path) -> Iterator[Container]:
    """The services of a server, without the server."""
    backends = {name: BackendSettings() for name in ("claude", "codex", "gemini")}
    config = Config(home / ".clinvk", backends=backends, server=ServerSettings(max_concurrent_runs=2))
    container = create_container(config, "test")
    yield container
    container.close()


def answered(container: Container, prompt: Prompt) -> str:
    with container.runs.start(container.runs.check(prompt)) as run:
        result = run.collect()
    assert isinstance(result.outcome, Done), result
    return result.output


def test_a_process_that_is_a_model(container: Container, fake_clis: FakeClis, user: Path) -> None:
    prompt = Prompt("codex", "hello $HOME", chat=True, as_model=True, messages=BEFORE, sampling=Sampling(effort="low"))
    assert seen(answered(container, prompt))["turn"] == "2"
    (asked,) = fake_clis.entries("model")
    assert asked["messages"] == [["user", "one"], ["assistant", "two"], ["user", "hello $HOME"]]
    assert (asked["system"], asked["tools"], asked["effort"]) == (NEUTRAL, [], "low")


def test_a_process_that_is_an_agent(container: Container, fake_clis: FakeClis, user: Path) -> None:
    answered(container, Prompt("codex", "hello", chat=True, messages=BEFORE, append_system_prompt="Be brief."))
    (asked,) = fake_clis.entries("model")
    said = [["user", "one"], ["assistant", "two"], ["user", "hello"]]
    assert asked["messages"] == [["user", "Be a pirate."], *said]
    assert asked["system"] == "Be brief."
    assert asked["tools"] == ["exec_command", "view_image", "create_goal", "mcp__odd name"]


def test_a_user_without_settings_needs_none(container: Container, fake_clis: FakeClis, home: Path) -> None:
    answered(container, Prompt("codex", "hello", chat=True, as_model=True))
    (asked,) = fake_clis.entries("model")
    assert (asked["messages"], asked["tools"]) == ([["user", "hello"]], [])


# ---------------------------------------------------------------------- through HTTP


def complete(server: Server, *said: tuple[str, str], session: str = "", **fields: Any) -> Any:
    messages = [{"role": role, "content": text} for role, text in said]
    headers = {"X-Clinvk-Session": session} if session else {}
    body = {"model": "codex", "messages": messages, **fields}
    return server.client.post("/openai/v1/chat/completions", body, headers=headers)


def model_of(server: Server) -> Any:
    """What the model was asked last."""
    return server.clis.entries("model")[-1]


ODD = "\r\n /x $skill @/etc/hostname \u2028 \U0001f600 "


def test_a_chat(server: Server) -> None:
    said = (("assistant", ODD), ("user", ODD), ("assistant", "two"), ("user", f"{ODD}FAKE:think"))
    response = complete(server, ("system", "Be brief."), *said, reasoning_effort="high", temperature=0.1)
    assert response.status == 200, response.text
    asked = model_of(server)
    assert asked["messages"] == [list(message) for message in said]
    assert (asked["system"], asked["tools"], asked["effort"]) == ("Be brief.", [], "high")
    assert response.headers["x-clinvk-ignored"] == "temperature"
    usage = response.json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 2
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 3


def test_a_chat_with_the_agent(server: Server) -> None:
    messages = [{"role": "user", "content": "hello"}]
    response = server.client.post(
        "/openai/v1/chat/completions", {"model": "codex", "messages": messages}, headers={"X-Clinvk-Tools": "cli"}
    )
    assert response.status == 200, response.text
    assert "exec_command" in model_of(server)["tools"]


def test_a_session_of_the_agents_goes_on_as_a_model(server: Server) -> None:
    first = server.client.prompt("one", "codex").json()
    response = complete(server, ("user", "two"), session=first["session_id"])
    assert response.status == 200, response.text
    asked = model_of(server)
    assert asked["messages"] == [["user", "one"], ["assistant", first["output"]], ["user", "two"]]
    assert (asked["system"], asked["tools"]) == (NEUTRAL, [])
    server.client.prompt("three", "codex", session_id=first["session_id"])
    assert "exec_command" in model_of(server)["tools"]


def test_a_message_that_codex_does_not_take(server: Server) -> None:
    response = complete(server, ("user", "x" * 1_048_577))
    assert response.status == 400
    error = json.loads(response.text)["error"]
    assert error["param"].startswith("messages")
    assert "1048576" in error["message"]
