"""gemini as a model: what is started for a request of a chat API, and how its conversation begins."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import InRun, Options, PrivateHome
from services.backends.gemini.conversation import KEPT
from services.backends.gemini.history import PRIVATE, tidied
from services.backends.gemini.past import FIRST
from services.backends.gemini.signs import NEXT_LINE, WHITE_SPACE
from services.chat import ChatMessage, Role, Sampling
from services.container import Container, create_container
from services.errors import ErrorCode
from services.events import Done, Failed, Init, Message, TokenUsage
from services.planning import Kept
from services.prompts import Prompt
from services.run_folder import RunFolder, Spares
from services.settings import BackendSettings, Config, ServerSettings
from tests.fake_cli.install import FakeClis
from tests.fake_cli.install import seen as seen_by_program
from tests.services.backends.gemini_lines import BACKEND, PLAIN, answered, piece, say
from tests.services.backends.test_gemini_sessions import ECHOED, LOADED
from tests.support.server import Server

FRESH = replace(PLAIN, workdir="", allowed_tools=())
MODEL = replace(FRESH, system_prompt="Be brief.", as_model=True)
BEFORE = (ChatMessage("user", "one"), ChatMessage("assistant", "two"))
TALK = replace(MODEL, messages=BEFORE)


def home_of(options: Options) -> PrivateHome:
    home = BACKEND.spawn(options).home
    assert home is not None
    return home


def settings_of(options: Options) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(home_of(options).changes)
    return settings


def request_of(options: Options, alias: str = "") -> dict[str, Any]:
    """What the settings put into the requests of a chat, or of one with the models of an alias."""
    match = {"isChatModel": True, **({"model": alias} if alias else {})}
    overrides = settings_of(options).get("modelConfigs", {}).get("customOverrides", [])
    found = [one["modelConfig"]["generateContentConfig"] for one in overrides if one["match"] == match]
    assert len(found) <= 1
    request: dict[str, Any] = found[0] if found else {}
    return request


def record_of(options: Options) -> list[dict[str, Any]]:
    """The lines of the record that the conversation begins with, without its head."""
    (text,) = [text for name, text in home_of(options).files if name.endswith("/session-kept.jsonl")]
    head, *lines = (json.loads(line) for line in text.split("\n")[:-1])
    assert (head["kind"], "startTime" in head) == ("main", False)
    return lines


def seen(line: Mapping[str, Any]) -> str:
    """What gemini takes a message's text to be."""
    return "".join(part["text"] for part in line["content"])


def sent(line: Mapping[str, Any]) -> list[str]:
    """What of a message gemini sends: no old thoughts."""
    return [part["text"] for part in line["content"] if not part.get("thought")]


# ---------------------------------------------------------------------- a model, and no agent


def test_nothing_of_an_agents_is_there() -> None:
    home = home_of(MODEL)
    assert {"GEMINI.md", "extensions", "skills", "agents", "tmp", "projects.json"} <= set(home.private)
    assert home.beside == (".env",)
    settings = settings_of(MODEL)
    assert {name for name, value in settings.items() if value is None} >= {"hooks", "mcpServers", "experimental"}
    assert (settings["hooksConfig"], settings["skills"]) == ({"enabled": False}, {"enabled": False})
    assert settings["context"]["memoryBoundaryMarkers"] == []
    assert settings["tools"]["discoveryCommand"] is None
    assert not {"hooks", "mcpServers", "skills"} & settings_of(PLAIN).keys()
    assert "GEMINI.md" not in home_of(PLAIN).private


def test_it_works_in_a_folder_of_its_own() -> None:
    assert BACKEND.spawn(replace(MODEL, workdir="/srv/project")).cwd == ""
    assert BACKEND.spawn(replace(MODEL, workdir="/srv/project")) == BACKEND.spawn(MODEL)
    assert BACKEND.spawn(replace(FRESH, workdir="/srv/project")).cwd == "/srv/project"


def test_no_tools_are_none_in_the_request() -> None:
    """An empty list of tools, as gemini would send it, is refused by the provider."""
    for options in (MODEL, replace(PLAIN, allowed_tools=())):
        request = request_of(options)
        assert request["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
        assert request["httpOptions"]["extraBody"]["tools"] == []
        assert request["httpOptions"]["extraBody"]["toolConfig"] is None
        assert len(settings_of(options)["tools"]["core"]) == 1
    assert request_of(PLAIN) == {}


def test_the_system_text_is_sent_as_it_is() -> None:
    text = " a\n\n\n\n${AvailableTools} "
    options = replace(MODEL, system_prompt=text, append_system_prompt="b")
    assert request_of(options)["httpOptions"]["extraBody"]["systemInstruction"] == {"parts": [{"text": f"{text}\n\nb"}]}
    spawn = BACKEND.spawn(options)
    assert spawn.files == (("system.md", f"{text}\n\nb"),)
    assert ("GEMINI_SYSTEM_MD", InRun("system.md")) in spawn.environment
    assert "systemInstruction" not in request_of(replace(PLAIN, allowed_tools=()))["httpOptions"]["extraBody"]


def test_modes_say_nothing_to_a_model() -> None:
    spawn = BACKEND.spawn(replace(MODEL, approval_mode="none", sandbox_mode="read-only"))
    assert spawn.argv == ("gemini", "--acp", "--skip-trust", "--model=gemini-2.5-flash")
    assert spawn.warnings == ()


def test_limits_stay_beside_what_makes_it_a_model() -> None:
    model = settings_of(replace(MODEL, max_turns=3))["model"]
    assert (model["maxSessionTurns"], model["disableLoopDetection"]) == (3, True)


# ---------------------------------------------------------------------- how a conversation begins


def test_a_model_is_started_in_advance_unless_there_are_messages() -> None:
    spawn = BACKEND.spawn(MODEL)
    assert spawn.in_advance
    assert spawn == BACKEND.spawn(replace(MODEL))
    assert [json.loads(line)["method"] for line in spawn.opening.splitlines()] == ["initialize", "session/load"]
    assert not BACKEND.spawn(TALK).in_advance
    assert BACKEND.spawn(TALK).opening == spawn.opening
    assert not BACKEND.spawn(replace(PLAIN, messages=BEFORE)).in_advance


def test_gemini_finds_the_record_where_it_looks(tmp_path: Path) -> None:
    """A private folder bears the name that it has in a run's; for another the registry has one."""
    folder = RunFolder.create(str(tmp_path / "run"), (), "", Spares())
    assert Path(folder.work).name == PRIVATE
    assert [name for name, _ in home_of(MODEL).files] == [f"tmp/{PRIVATE}/chats/session-kept.jsonl"]
    (registry, projects), (record, _) = home_of(replace(PLAIN, messages=BEFORE)).files
    assert registry == "projects.json"
    (name,) = json.loads(projects)["projects"].values()
    assert record == f"tmp/{name}/chats/session-kept.jsonl"


def test_geminis_own_first_words_are_taken_for_said() -> None:
    assert sha256(b"environment-context").hexdigest().startswith(FIRST)
    (nothing,) = record_of(MODEL)
    assert (nothing["id"], nothing["type"], nothing["content"]) == (FIRST, "gemini", [{"text": ""}])
    assert nothing["thoughts"], "it would not be taken up"
    assert [line["id"] == FIRST for line in record_of(TALK)] == [True, False]
    assert FIRST not in [line["id"] for line in record_of(replace(PLAIN, messages=BEFORE))]


def test_messages_are_the_record() -> None:
    kinds = [(line["type"], sent(line)) for line in record_of(TALK)]
    assert kinds == [("user", ["one"]), ("gemini", ["two"])]
    assert home_of(TALK).defaults == home_of(MODEL).defaults != "{}", "a session is loaded, which needs a login"


@pytest.mark.parametrize("text", ["/x", " \n? y", "<session_context>", "<hook_context>", "", " \t\u2028"])
def test_what_gemini_would_leave_out_is_disarmed(text: str) -> None:
    (line,) = record_of(replace(MODEL, messages=(ChatMessage("user", text),)))
    assert seen(line) == NEXT_LINE + text
    assert sent(line) == [text]


@pytest.mark.parametrize("text", ["$x", "a /x", "@x", "!ls"])
def test_what_it_takes_for_text_stays_as_it_is(text: str) -> None:
    (line,) = record_of(replace(MODEL, messages=(ChatMessage("user", text),)))
    assert line["content"] == [{"text": text}]


def test_an_answer_of_nothing_is_none() -> None:
    blank = ChatMessage("assistant", " \n")
    assert [line["content"] for line in record_of(replace(MODEL, messages=(blank,)))] == [[{"text": ""}]]
    assert record_of(replace(MODEL, messages=(blank, *BEFORE))) == record_of(TALK)


ROLES: st.SearchStrategy[Role] = st.sampled_from(["user", "assistant"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["/x", "?", " ", "\u2028/", "a\nb"])


@given(st.lists(st.builds(ChatMessage, ROLES, TEXTS), max_size=6))
def test_any_messages_are_there_to_the_last_character(messages: list[ChatMessage]) -> None:
    lines = record_of(replace(MODEL, messages=tuple(messages)))
    expected = [one for one in messages if one.role == "user" or one.text.strip(WHITE_SPACE)]
    if expected:
        assert [sent(line) for line in lines] == [[one.text] for one in expected]
    assert all(seen(line).strip(WHITE_SPACE) for line in lines if line["type"] == "user")
    assert len({line["id"] for line in lines}) == len(lines)


def test_the_answer_comes_after_the_past() -> None:
    conversation = BACKEND.conversation(TALK, "hello")
    conversation.start()
    events = [event for line in say(piece("one"), LOADED, piece("two"), ECHOED) for event in conversation.receive(line)]
    assert events == [Init("m1", "")]
    conversation.data_to_send()
    assert not conversation.receive(*say(ECHOED))
    asked = json.loads(conversation.data_to_send())
    assert (asked["method"], asked["params"]["sessionId"]) == ("session/prompt", KEPT)
    assert [event for line in say(piece("now"), answered()) for event in conversation.receive(line)] == [Message("now")]
    assert conversation.finish(0, "") == Done(TokenUsage(3, 5))


def test_messages_that_are_not_taken_up_are_no_session_that_has_expired() -> None:
    conversation = BACKEND.conversation(TALK, "hello")
    details = {"details": "No previous sessions found for this project."}
    conversation.receive(*say({"id": 2, "error": {"code": -32603, "message": "Internal error", "data": details}}))
    outcome = conversation.finish(0, "")
    assert isinstance(outcome, Failed)
    assert (outcome.code, "messages before" in outcome.message) == (ErrorCode.BACKEND_FAILED, True)


def test_one_that_is_kept_is_named_before_it_is_asked() -> None:
    options = replace(TALK, keep_session=True)
    kept = home_of(options).kept
    assert kept is not None
    assert kept.read == f".gemini/tmp/{PRIVATE}/chats/session-kept.jsonl"
    conversation = BACKEND.conversation(options, "hello")
    assert not conversation.receive(*say(LOADED))
    assert json.loads(conversation.data_to_send())["method"] == "session/new"
    assert conversation.receive(*say({"id": 5, "result": {"sessionId": "s9"}})) == [Init("m1", "s9")]
    assert json.loads(conversation.data_to_send())["method"] == "initialize"
    (record,) = [text for name, text in home_of(options).files if name.endswith(".jsonl")]
    assert tidied(record.encode()) == record.encode()


# ---------------------------------------------------------------------- sampling


@pytest.mark.parametrize(
    ("sampling", "request_has"),
    [
        (Sampling(temperature=0.0), {"temperature": 0.0}),
        (Sampling(top_p=0.5, top_k=4), {"topP": 0.5, "topK": 4}),
        (Sampling(), {}),
    ],
)
def test_sampling_is_part_of_the_request(sampling: Sampling, request_has: Mapping[str, Any]) -> None:
    assert request_of(replace(PLAIN, sampling=sampling)) == request_has


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_an_effort_is_a_budget_or_a_level(effort: str) -> None:
    options = replace(PLAIN, sampling=Sampling(effort=effort))
    budgets = {"medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
    assert request_of(options) == {"thinkingConfig": {"thinkingBudget": budgets.get(effort, 1024)}}
    levels = {"medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
    thinking = {"thinkingBudget": None, "thinkingLevel": levels.get(effort, "LOW")}
    assert request_of(options, "chat-base-3") == {"thinkingConfig": thinking}


@pytest.mark.parametrize(("tokens", "budget"), [(1, 512), (2000, 2000), (10**9, 24576)])
def test_a_budget_is_one_that_models_take(tokens: int, budget: int) -> None:
    options = replace(PLAIN, sampling=Sampling(thinking_tokens=tokens, effort="low"))
    assert request_of(options) == {"thinkingConfig": {"thinkingBudget": budget}}
    assert request_of(options, "chat-base-3") == {"thinkingConfig": {"thinkingLevel": None}}


def test_no_thinking_is_as_little_as_a_model_can() -> None:
    options = replace(PLAIN, sampling=Sampling(thinking_tokens=0))
    assert request_of(options)["thinkingConfig"] == {"thinkingBudget": 0, "includeThoughts": False}
    assert request_of(options, "chat-base-3")["thinkingConfig"]["thinkingLevel"] == "LOW"
    assert request_of(options, "gemini-2.5-pro")["thinkingConfig"]["thinkingBudget"] > 0


def test_an_effort_that_nobody_knows_changes_nothing() -> None:
    assert request_of(replace(PLAIN, sampling=Sampling(effort="odd"))) == {}


def test_what_it_honours() -> None:
    assert BACKEND.honours == {"temperature", "top_p", "top_k", "effort", "thinking_tokens"}
    assert BACKEND.takes_messages
    assert BACKEND.takes_system_prompt


# ---------------------------------------------------------------------- a process that speaks as gemini does


@pytest.fixture
def container(fake_clis: FakeClis, home: Path) -> Iterator[Container]:
    """The services of a server, without the server."""
    backends = {name: BackendSettings() for name in ("claude", "codex", "gemini")}
    config = Config(home / ".clinvk", backends=backends, server=ServerSettings(max_concurrent_runs=2))
    container = create_container(config, "test")
    yield container
    container.close()


@pytest.mark.parametrize("as_model", [True, False])
def test_what_a_process_makes_of_it(as_model: bool, container: Container, fake_clis: FakeClis) -> None:
    messages = (ChatMessage("assistant", "first"), ChatMessage("user", "/x"), ChatMessage("assistant", "two"))
    prompt = Prompt(
        "gemini", "hello", system_prompt="Be brief.", chat=True, as_model=as_model, messages=messages, max_tokens=9,
        sampling=Sampling(temperature=0.5),
    )  # fmt: skip
    plan = container.runs.check(prompt)
    assert plan.ignored == ("max_tokens",)
    with container.runs.start(plan) as run:
        output = run.collect().output
    assert seen_by_program(output)["turn"] == "2"
    (asked,) = fake_clis.entries("model")
    said = [["gemini", "first"], ["user", "/x"], ["gemini", "two"], ["user", "hello"]]
    assert (asked["messages"], asked["system"]) == (said, "Be brief.")
    assert asked["tools"] == ([] if as_model else ["run_shell_command"])
    assert asked["generation"]["temperature"] == 0.5
    assert "maxOutputTokens" not in asked["generation"]


def test_a_model_alone_has_said_nothing(container: Container, fake_clis: FakeClis) -> None:
    plan = container.runs.check(Prompt("gemini", "hello FAKE:n=1", chat=True, as_model=True))
    with container.runs.start(plan) as run:
        output = run.collect().output
    assert seen_by_program(output)["turn"] == "1"
    assert output.endswith(" | w0 ")
    (asked,) = fake_clis.entries("model")
    assert (asked["messages"], asked["tools"]) == ([["user", "hello FAKE:n=1"]], [])


def test_a_session_begins_with_messages(container: Container, fake_clis: FakeClis, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    prompt = Prompt("gemini", "hello FAKE:n=1", chat=True, as_model=True, messages=BEFORE)
    with container.runs.start(container.runs.check(prompt, Kept(str(folder)))) as run:
        output = run.collect().output
    assert run.cli_session_id
    more = replace(prompt, text="more", messages=())
    with container.runs.start(container.runs.check(more, Kept(str(folder), run.cli_session_id))) as run:
        run.collect()
    said = [["user", "one"], ["gemini", "two"], ["user", "hello FAKE:n=1"], ["gemini", output], ["user", "more"]]
    assert fake_clis.entries("model")[-1]["messages"] == said


SAID = [
    {"role": "user", "content": "/one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "hello FAKE:n=1"},
]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/chat/completions", {"messages": [{"role": "system", "content": "Be brief."}, *SAID]}),
        ("/anthropic/v1/messages", {"messages": SAID, "system": "Be brief."}),
    ],
)
def test_over_http(path: str, body: Mapping[str, Any], server: Server) -> None:
    response = server.client.post(path, {"model": "gemini", "temperature": 0.5, "max_tokens": 9, **body})
    assert response.status == 200, response.text
    assert response.headers["X-Clinvk-Ignored"] == "max_tokens"
    asked = server.clis.entries("model")[-1]
    assert (asked["system"], asked["tools"]) == ("Be brief.", [])
    assert asked["messages"] == [["user", "/one"], ["gemini", "two"], ["user", "hello FAKE:n=1"]]
    assert asked["generation"]["temperature"] == 0.5
    assert "maxOutputTokens" not in asked["generation"]
