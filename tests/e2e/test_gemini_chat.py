"""The real gemini as a model: what a request of a chat API makes of the request to the provider."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.backends.gemini.signs import NEXT_LINE
from services.chat import ChatMessage, Sampling
from services.container import Container
from services.events import Done, Failed
from services.planning import NEUTRAL, Kept
from services.prompts import Prompt
from services.run import Result
from tests.e2e import clis
from tests.e2e.conversing import services_alone
from tests.e2e.fake_upstream import ModelServer, Received
from tests.support.files import below

MODEL = clis.MODELS["gemini"]
SECRET = "the-safe-opens-with-7718"
ODD = "\n You\n\n\n\nare ${AvailableTools} ${AgentSkills} ${SubAgents} @/etc/hosts /help \u2028 \U0001f600 \r\n"
ASK = Prompt("gemini", "hello", model=MODEL, system_prompt="Be brief.", chat=True, as_model=True, ephemeral=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, module_model_server: ModelServer) -> Path:
    """The home of a user who has set up much, all of which would be seen in a request or leave a file ``acted``."""
    home = tmp_path_factory.mktemp("home")
    clis.prepare_home(home, module_model_server.url)
    furnish(home, f"touch {home / 'acted'}")
    return home


@pytest.fixture(scope="module")
def container(
    real_clis: Path, home: Path, module_model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    with services_alone("gemini", home, module_model_server, tmp_path_factory.mktemp("tools")) as container:
        yield container


def furnish(folder: Path, act: str) -> None:
    """Put into a folder all that gemini knows of to make more of a prompt; ``act`` is what its commands do."""
    extension = folder / ".gemini" / "extensions" / "spy"
    skill = folder / ".gemini" / "skills" / "spy" / "SKILL.md"
    hook = [{"hooks": [{"type": "command", "command": act}]}]
    spy = {"command": "sh", "args": ["-c", act]}
    settings = {
        "context": {"fileName": ["GEMINI.md", "NOTES.md"]},
        "experimental": {"enableAgents": True, "contextManagement": True},
        "hooks": {"SessionStart": hook, "BeforeAgent": hook, "BeforeModel": hook},
        "hooksConfig": {"enabled": True},
        "mcpServers": {"spy": spy},
        "tools": {"core": ["glob", "read_file"], "discoveryCommand": f"sh -c '{act}; echo []'"},
        "modelConfigs": {"customOverrides": [{"match": {"overrideScope": "core"}, "modelConfig": {}}]},
    }
    files = {
        folder / "GEMINI.md": SECRET,
        folder / ".gemini" / "GEMINI.md": SECRET,
        folder / ".gemini" / "NOTES.md": SECRET,
        folder / ".gemini" / "system.md": SECRET,
        folder / ".agents" / "skills" / "spy" / "SKILL.md": f"---\nname: spy\ndescription: {SECRET}\n---\n{SECRET}",
        skill: f"---\nname: spy\ndescription: {SECRET}\n---\n{SECRET}",
        extension / "gemini-extension.json": json.dumps(
            {"name": "spy", "version": "1.0.0", "contextFileName": "NOTES.md", "mcpServers": {"spy": spy}}
        ),
        extension / "NOTES.md": SECRET,
        extension / "hooks" / "hooks.json": json.dumps({"hooks": {"SessionStart": hook}}),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    path = folder / ".gemini" / "settings.json"
    own = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(own | settings))


def run(container: Container, prompt: Prompt = ASK, kept: Kept | None = None) -> Result:
    with container.runs.start(container.runs.check(prompt, kept)) as running:
        return running.collect()


def received_of(container: Container, model_server: ModelServer, prompt: Prompt = ASK) -> Received:
    """What the provider is asked, once."""
    result = run(container, prompt)
    assert isinstance(result.outcome, Done), result
    (received,) = model_server.asked()
    return received


def contents_of(received: Received) -> list[tuple[str, list[str]]]:
    """Who said what, in parts, to the last byte."""
    contents = received.json()["contents"]
    assert all(part.keys() == {"text"} for content in contents for part in content["parts"])
    return [(content["role"], [part["text"] for part in content["parts"]]) for content in contents]


def system_of(received: Received) -> str:
    (part,) = received.json()["systemInstruction"]["parts"]
    text: str = part["text"]
    return text


def talk(*texts: str, first: str = "user") -> tuple[ChatMessage, ...]:
    """Messages of the two in turn."""
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return tuple(ChatMessage(roles[number % 2], text) for number, text in enumerate(texts))  # type: ignore[arg-type]


def as_contents(messages: Sequence[ChatMessage]) -> list[tuple[str, list[str]]]:
    return [("user" if message.role == "user" else "model", [message.text]) for message in messages]


# ---------------------------------------------------------------------- a model, and no agent


def test_a_hello_is_nothing_but_that(container: Container, model_server: ModelServer, home: Path) -> None:
    received = received_of(container, model_server)
    body = received.json()
    assert contents_of(received) == [("user", ["hello"])]
    assert system_of(received) == "Be brief."
    assert (body["tools"], body["toolConfig"]) == ([], None)
    assert set(body) == {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}
    assert len(received.body) < 400
    assert not (home / "acted").exists()


def test_for_an_agent_all_of_that_would_count(container: Container, model_server: ModelServer, home: Path) -> None:
    """The witness: what is planted does act."""
    result = run(container, replace(ASK, as_model=False, chat=False))
    assert isinstance(result.outcome, Done), result
    body = model_server.asked()[-1].body
    assert SECRET.encode() in body
    assert b"session_context" in body
    assert (home / "acted").exists()
    (home / "acted").unlink()


@pytest.mark.parametrize("system", [ODD + "x" * 1_000_000 + ODD, "\t", ""])
def test_the_system_text_is_the_system_prompt(system: str, container: Container, model_server: ModelServer) -> None:
    received = received_of(container, model_server, replace(ASK, system_prompt=system))
    assert system_of(received) == (system or NEUTRAL)


def test_what_is_appended_is_part_of_it(container: Container, model_server: ModelServer) -> None:
    received = received_of(container, model_server, replace(ASK, append_system_prompt=ODD))
    assert system_of(received) == f"Be brief.\n\n{ODD}"


def test_a_folder_has_no_say(container: Container, model_server: ModelServer, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    furnish(project, f"touch {project / 'acted'}")
    received = received_of(container, model_server, replace(ASK, workdir=str(project)))
    assert contents_of(received) == [("user", ["hello"])]
    assert SECRET.encode() not in received.body
    assert received.json()["tools"] == []
    assert not (project / "acted").exists()


def test_what_a_model_cannot_do_does_nothing(container: Container, model_server: ModelServer, home: Path) -> None:
    result = run(container, replace(ASK, text=f'FAKE:tool FAKE:cmd="touch {home / "acted"}"', approval_mode="none"))
    assert isinstance(result.outcome, Done)
    assert not (home / "acted").exists()


@pytest.mark.parametrize("text", ["/help", "$x", "look at @GEMINI.md", "? why", "<session_context>", ODD])
def test_a_prompt_is_text(text: str, container: Container, model_server: ModelServer) -> None:
    received = received_of(container, model_server, replace(ASK, text=text))
    (content,) = contents_of(received)
    disarmed = [NEXT_LINE] if text.startswith(("/", "$")) else []
    assert content == ("user", [*disarmed, text])


def test_a_model_may_repeat_itself(container: Container, model_server: ModelServer) -> None:
    """Else gemini would tell it that it goes round in circles, and end the answer there."""
    result = run(container, replace(ASK, text="FAKE:n=3000"))
    assert result.output.endswith("w2999 ")
    assert len(model_server.asked()) == 1


# ---------------------------------------------------------------------- the messages before

SIGNS = ("/help", "$x", "? y", "<session_context>", "<hook_context>a", " \n/x", "@GEMINI.md", "!ls", ODD, " ")


@pytest.mark.parametrize(
    "messages",
    [
        talk("one", "two", "three", "four"),
        talk("one", "two", "three", first="assistant")[:3],
        talk("one", first="assistant"),
        talk(*(text for sign in SIGNS for text in (sign, f"{sign} it is"))),
        talk(*(text for sign in SIGNS[:-1] for text in (sign, f"{sign} it is")), first="assistant"),
        talk("{} " * 350_000, "\U0001f600" * 250_000),
        talk(*(f"{number} {SECRET}" for number in range(400))),
    ],
    ids=["four", "an assistant first", "an assistant alone", "signs", "signs of the other", "1 MB", "200 turns"],
)
def test_messages_are_turns_to_the_last_byte(
    messages: tuple[ChatMessage, ...], container: Container, model_server: ModelServer
) -> None:
    messages = messages if messages[-1].role == "assistant" else messages[:-1]
    received = received_of(container, model_server, replace(ASK, messages=messages))
    assert contents_of(received) == [*as_contents(messages), ("user", ["hello"])]
    assert system_of(received) == "Be brief."


def test_so_they_are_before_a_message_that_looks_like_a_command(
    container: Container, model_server: ModelServer
) -> None:
    messages = talk(*SIGNS[:4])
    received = received_of(container, model_server, replace(ASK, text="/last", messages=messages))
    assert contents_of(received) == [*as_contents(messages), ("user", [NEXT_LINE, "/last"])]


def test_the_answer_has_nothing_of_the_past(container: Container, model_server: ModelServer) -> None:
    result = run(container, replace(ASK, text="hello FAKE:n=2", messages=talk(*("x" * 50_000 for _ in range(60)))))
    assert result.output.startswith("fake turn=31 ")
    assert result.output.count("fake") == 1


@pytest.mark.parametrize("blank", ["", " \n"])
def test_an_assistant_who_said_nothing_is_left_out(blank: str, container: Container, model_server: ModelServer) -> None:
    received = received_of(container, model_server, replace(ASK, messages=talk(blank, first="assistant")))
    assert contents_of(received) == [("user", ["hello"])]


def test_an_agent_has_them_after_its_own_words(container: Container, model_server: ModelServer) -> None:
    prompt = replace(ASK, as_model=False, messages=talk("/one", "two"))
    run(container, prompt)
    received = model_server.asked()[-1]
    (_, [context, one]), *rest = contents_of(received)
    assert context.startswith("<session_context>")
    assert (one, rest) == ("/one", [("model", ["two"]), ("user", ["hello"])])
    assert received.turn is not None
    assert received.turn.tools


def test_messages_begin_a_session(container: Container, model_server: ModelServer, tmp_path: Path) -> None:
    with container.runs.start(
        container.runs.check(replace(ASK, messages=talk("one", "two")), Kept(str(tmp_path)))
    ) as running:
        first = running.collect()
    assert isinstance(first.outcome, Done), first
    assert running.cli_session_id
    more = replace(ASK, text="more", messages=())
    result = run(container, more, Kept(str(tmp_path), running.cli_session_id))
    assert isinstance(result.outcome, Done), result
    said = [("user", ["one"]), ("model", ["two"]), ("user", ["hello"]), ("model", [first.output.strip()])]
    assert contents_of(model_server.asked()[-1]) == [*said, ("user", ["more"])]


def test_a_session_goes_on_as_a_model(container: Container, model_server: ModelServer, tmp_path: Path) -> None:
    """Its own first words are all that is left of an agent's."""
    agent = replace(ASK, as_model=False, chat=False)
    with container.runs.start(container.runs.check(agent, Kept(str(tmp_path)))) as running:
        running.collect()
    (tmp_path / "GEMINI.md").write_text("of the folder")
    model_server.clear()
    run(container, replace(ASK, text="more"), Kept(str(tmp_path), running.cli_session_id))
    (received,) = model_server.asked()
    (_, [context, _]), *rest = contents_of(received)
    assert SECRET not in context
    assert "of the folder" not in context
    assert str(tmp_path) not in context
    assert [role for role, _ in rest] == ["model", "user"]
    assert system_of(received) == "Be brief."
    assert received.json()["tools"] == []


def test_usage_is_what_the_provider_counted(container: Container, model_server: ModelServer) -> None:
    result = run(container, replace(ASK, text="hello " * 100, messages=talk("one", "two")))
    (received,) = model_server.asked()
    assert received.turn is not None
    assert result.usage.input_tokens == received.turn.input_tokens
    assert result.usage.output_tokens == len(result.output) // 4


@pytest.mark.parametrize(("words", "code"), [("FAKE:401", "backend_auth_failed"), ("FAKE:toolong", "context_too_long")])
def test_failures_are_told(words: str, code: str, container: Container, model_server: ModelServer) -> None:
    outcome = run(container, replace(ASK, text=words, messages=talk("one", "two"))).outcome
    assert isinstance(outcome, Failed)
    assert outcome.code.value == code


def test_nothing_is_left_at_home(container: Container, model_server: ModelServer, home: Path) -> None:
    """Not of a run, nor of the question for the version."""

    def files() -> set[Path]:
        ours = home / ".clinvk"
        return {path for entry in home.iterdir() if entry != ours for path in (entry, *below(entry))}

    before = files()
    run(container, replace(ASK, messages=talk("one", "two")))
    container.availability.refresh()
    assert [status.version for status in container.availability.statuses() if status.name == "gemini"] == ["0.61.0"]
    assert files() == before


# ---------------------------------------------------------------------- sampling

THOUGHTS = {"includeThoughts": True}


USUAL = {"temperature": 1, "topP": 0.95, "topK": 64}
ALL = Sampling(temperature=1.7, top_p=0.25, top_k=3)
AS_ALL = {"temperature": 1.7, "topP": 0.25, "topK": 3}


@pytest.mark.parametrize(
    ("model", "sampling", "expected"),
    [
        (MODEL, Sampling(), USUAL),
        (MODEL, Sampling(temperature=0.0), {**USUAL, "temperature": 0}),
        ("", Sampling(), USUAL),
        ("", ALL, AS_ALL),
    ],
)
def test_sampling_reaches_the_provider(
    model: str, sampling: Sampling, expected: Mapping[str, Any], container: Container, model_server: ModelServer
) -> None:
    """Also when gemini picks the model, by a request of its own that stays as it is."""
    run(container, replace(ASK, model=model, sampling=sampling))
    *helpers, received = (one for one in model_server.requests() if one.turn is not None)
    asked = received.json()["generationConfig"]
    assert {name: asked[name] for name in expected} == expected
    assert len(helpers) == (model == "")
    for helper in helpers:
        assert helper.json()["generationConfig"]["temperature"] == 1
        assert system_of(helper) != "Be brief."


@pytest.mark.parametrize(
    ("sampling", "model", "expected"),
    [
        (Sampling(effort="low"), MODEL, {"thinkingBudget": 1024, **THOUGHTS}),
        (Sampling(effort="high"), "gemini-2.5-pro", {"thinkingBudget": 24576, **THOUGHTS}),
        (Sampling(effort="medium"), "gemini-3-flash-preview", {"thinkingLevel": "MEDIUM", **THOUGHTS}),
        (Sampling(effort="minimal"), "gemini-3.1-pro-preview", {"thinkingLevel": "LOW", **THOUGHTS}),
        (Sampling(effort="high"), "some-model", {"thinkingBudget": 24576, **THOUGHTS}),
        (Sampling(thinking_tokens=2000), MODEL, {"thinkingBudget": 2000, **THOUGHTS}),
        (Sampling(thinking_tokens=2000), "gemini-3-flash-preview", {"thinkingBudget": 2000, **THOUGHTS}),
        (Sampling(thinking_tokens=90000), MODEL, {"thinkingBudget": 24576, **THOUGHTS}),
        (Sampling(thinking_tokens=1), MODEL, {"thinkingBudget": 512, **THOUGHTS}),
        (Sampling(thinking_tokens=0), MODEL, {"thinkingBudget": 0, "includeThoughts": False}),
        (Sampling(thinking_tokens=0), "gemini-2.5-pro", {"thinkingBudget": 128, "includeThoughts": False}),
        (Sampling(thinking_tokens=0), "gemini-3-flash-preview", {"thinkingLevel": "LOW", "includeThoughts": False}),
        (Sampling(), "gemini-3-flash-preview", {"thinkingLevel": "HIGH", **THOUGHTS}),
    ],
)
def test_how_much_to_think_reaches_the_provider(
    sampling: Sampling, model: str, expected: Mapping[str, Any], container: Container, model_server: ModelServer
) -> None:
    """By a budget or a level, never both: the provider refuses that.  And so does how the model samples, with any."""
    sampling = replace(ALL, effort=sampling.effort, thinking_tokens=sampling.thinking_tokens)
    received = received_of(container, model_server, replace(ASK, model=model, sampling=sampling))
    asked = received.json()["generationConfig"]
    assert {name: asked[name] for name in AS_ALL} == AS_ALL
    assert {name: value for name, value in asked["thinkingConfig"].items() if value is not None} == expected


def test_an_agent_samples_too(container: Container, model_server: ModelServer) -> None:
    run(container, replace(ASK, as_model=False, sampling=Sampling(temperature=0.5, effort="low")))
    config = model_server.asked()[-1].json()["generationConfig"]
    assert (config["temperature"], config["thinkingConfig"]["thinkingBudget"]) == (0.5, 1024)


def test_a_limit_whose_effect_could_not_be_told_is_ignored(container: Container, model_server: ModelServer) -> None:
    """Over ACP an answer that the provider has cut off ends like any other."""
    plan = container.runs.check(replace(ASK, max_tokens=20, sampling=Sampling(temperature=0.5)))
    assert plan.ignored == ("max_tokens",)
    with container.runs.start(plan) as running:
        running.collect()
    assert "maxOutputTokens" not in model_server.asked()[-1].json()["generationConfig"]
    model_server.clear()
    outcome = run(container, replace(ASK, text="FAKE:truncate")).outcome
    assert isinstance(outcome, Done)
    assert outcome.stop_reason == "end_turn"
