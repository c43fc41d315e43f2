"""The real codex behind a real server: what reaches the model, and what reaches the client."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.backends.codex.backend import MAX_PROMPT_CHARS
from tests.e2e import clis
from tests.e2e.conftest import start_real_server
from tests.e2e.conversing import CODEX, files_with, only
from tests.e2e.conversing import codex_texts as texts_of
from tests.e2e.fake_upstream import ModelServer
from tests.support import processes
from tests.support.files import below
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

ASKED = ("codex",)
SECRET = "the-safe-opens-with-7718"
ask, events_of = CODEX.ask, CODEX.events


@pytest.fixture
def project(tmp_path: Path, real_server: Server) -> Iterator[Path]:
    """A folder with a secret in it, one beside it and one in the home folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    secrets = (folder / "secret.txt", tmp_path / "outside.txt", real_server.home / "secret.txt")
    for path in secrets:
        path.write_text(SECRET)
    yield folder
    secrets[-1].unlink()


# ---------------------------------------------------------------------- a prompt is a text

PROMPTS = (
    "/help me",
    "/status",
    "/compact",
    "!ls -la",
    "#remember this",
    "$skill-creator do it",
    "see [$x](skill://{home}/.codex/skills/.system/skill-creator/SKILL.md)",
    "a $HOME and $100",
    "-p --help",
    "--version",
    "look at @secret.txt now",
    "look at @{folder}/secret.txt now",
    "@{outside} is outside",
    "@../outside.txt is outside",
    "@~/secret.txt is at home",
    "mail a@secret.txt",
    "[$x](skill://x) and [@y](plugin://y) and [z](app://z)",
    "  leading, trailing \r\n and odd: \u2028 \u0085 \u200b \U0001f600 \x0b  \n\n",
)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_is_text(prompt: str, real_server: Server, model_server: ModelServer, project: Path) -> None:
    paths = {"folder": project, "outside": project.parent / "outside.txt", "home": real_server.home}
    for name, path in paths.items():
        prompt = prompt.replace(f"{{{name}}}", str(path))
    answer = ask(real_server, prompt, workdir=str(project))
    (received,) = model_server.asked()
    assert texts_of(received)[-1] == prompt
    assert len(texts_of(received)) == 2, "only codex's own environment may stand beside it"
    assert SECRET.encode() not in received.body
    assert answer["exit_code"] == 0, answer


def test_as_input_of_a_turn_the_name_of_a_skill_would_add_a_text(
    cli_environment: dict[str, str], model_server: ModelServer, tmp_path: Path
) -> None:
    """The witness for the prompts with a dollar."""
    command = [str(clis.BIN / "codex"), "exec", "--skip-git-repo-check", "-"]
    for _ in range(2):  # the first start unpacks the skills
        subprocess.run(command, input=b"$skill-creator", cwd=tmp_path, env=cli_environment, check=True, timeout=60)
    assert any("<name>skill-creator</name>" in text for text in texts_of(model_server.asked()[-1]))


def test_system_prompts_are_text(real_server: Server, model_server: ModelServer, project: Path) -> None:
    text = "/help @/etc/hostname @../outside.txt @~/secret.txt $skill-creator -x !y" + "x" * 1_000_000
    ask(real_server, "hello", workdir=str(project), system_prompt=text, append_system_prompt=f"and {text}")
    (received,) = model_server.asked()
    assert texts_of(received, "developer")[:2] == [text, f"and {text}"]
    assert not [one for one in texts_of(received, "developer") if one.startswith("You are a coding agent")]
    assert SECRET.encode() not in received.body


def test_an_appended_system_prompt_leaves_codexs_own(real_server: Server, model_server: ModelServer) -> None:
    ask(real_server, "hello", append_system_prompt="be brief")
    (received,) = model_server.asked()
    own, appended, *_ = texts_of(received, "developer")
    assert own.startswith("You are a coding agent")
    assert appended == "be brief"


def test_nothing_of_a_prompt_is_on_the_command_line(real_server: Server, model_server: ModelServer) -> None:
    fields = {"system_prompt": "be a pirate", "append_system_prompt": "be brief", "output_format": "stream-json"}
    body = {"backend": "codex", "prompt": "hello FAKE:hold", **fields}
    with real_server.client.send("POST", "/api/v1/prompt", body) as exchange:
        wait_until(model_server.asked, 30.0)
        commands = [processes.command(process) for process in real_server.of_runs()]
        model_server.release()
        list(exchange.lines())
    assert any("app-server" in command for command in commands), commands
    assert not [command for command in commands if "be " in command or "hello" in command]


def test_a_prompt_that_codex_would_not_take_is_refused(real_server: Server, model_server: ModelServer) -> None:
    response = real_server.client.post("/api/v1/prompt", {"backend": "codex", "prompt": "x" * (MAX_PROMPT_CHARS + 1)})
    assert response.status == 400
    assert response.json()["errors"][0]["location"] == "prompt"
    assert str(MAX_PROMPT_CHARS) in response.json()["detail"]
    assert not model_server.requests()


# ---------------------------------------------------------------------- what comes back


def test_thoughts_and_tools_are_told(real_server: Server) -> None:
    events = events_of(real_server, "hello FAKE:think FAKE:tool")
    assert "".join(thought["text"] for thought in only(events, "thinking")).startswith("**Let me** think")
    (use,), (result,) = only(events, "tool_use"), only(events, "tool_result")
    assert use["tool_name"] == "command_execution"
    assert "echo from-the-tool" in use["input"]["command"]
    assert result == {"tool_id": use["tool_id"], "output": "from-the-tool\n", "is_error": False}


def test_the_streamed_messages_are_the_output(real_server: Server) -> None:
    events = events_of(real_server, "hello FAKE:n=7")
    assert (
        "".join(message["text"] for message in only(events, "message")) == ask(real_server, "hello FAKE:n=7")["output"]
    )


def test_usage_is_what_the_provider_counted(real_server: Server, model_server: ModelServer) -> None:
    answer = ask(real_server, "hello FAKE:think " + "hello " * 100)
    (received,) = model_server.asked()
    assert received.turn is not None
    assert answer["token_usage"] == {
        "input_tokens": received.turn.input_tokens,
        "output_tokens": len(answer["output"]) // 4,
        "cached_tokens": 2,
        "reasoning_tokens": 3,
    }


def test_an_answer_that_the_provider_cut_short_is_an_answer(real_server: Server) -> None:
    answer = ask(real_server, "hello FAKE:truncate")
    assert answer["exit_code"] == 0, answer
    assert answer["output"].endswith("w2 ")


def test_nothing_of_an_ephemeral_run_stays_in_codexs_home(real_server: Server) -> None:
    marker = "quite-a-secret-prompt"

    def sessions() -> set[Path]:
        return {path for path in below(real_server.home / ".codex") if "rollout" in path.name}

    before = sessions()
    ask(real_server, f"{marker} FAKE:tool", ephemeral=True)
    assert sessions() == before
    assert files_with(real_server.home, clis.MODELS["codex"]), "what codex is told of its models is there"
    wait_until(lambda: not files_with(real_server.home, marker))


# ---------------------------------------------------------------------- options


def test_the_model_of_the_flags_is_asked(real_server: Server, model_server: ModelServer) -> None:
    assert ask(real_server, "hello", model="gpt-other", extra=["--model=gpt-extra"])["exit_code"] == 0
    assert [turn.model for turn in model_server.turns()] == ["gpt-extra"]


def writes(server: Server, path: Path, project: Path, **fields: Any) -> bool:
    """Whether codex's shell can make this file."""
    ask(server, f'x FAKE:tool FAKE:cmd="touch {path}"', workdir=str(project), **fields)
    return path.exists()


@pytest.mark.parametrize(
    ("mode", "inside", "outside"),
    [("read-only", False, False), ("workspace", True, False), ("full", True, True), ("default", False, False)],
)
def test_sandbox_modes(mode: str, inside: bool, outside: bool, real_server: Server, project: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as elsewhere:  # /tmp is in the sandbox
        modes = {"sandbox_mode": mode, "approval_mode": "none"}
        assert writes(real_server, project / "made", project, **modes) == inside
        assert writes(real_server, Path(elsewhere) / "made", project, **modes) == outside


@pytest.mark.parametrize(("mode", "written"), [("auto", True), ("none", True), ("always", False)])
def test_approval_modes(mode: str, written: bool, real_server: Server, project: Path) -> None:
    """Where codex asks, nobody is there to say yes."""
    asked_of = {"sandbox_mode": "workspace", "approval_mode": mode}
    assert writes(real_server, project / "made", project, **asked_of) == written


def test_what_codex_cannot_honour_is_told(real_server: Server) -> None:
    answer = ask(real_server, "hello", max_turns=2, max_tokens=5, verbose=True, extra=["--profile", "p"])
    assert answer["exit_code"] == 0
    names = {warning.partition(":")[0] for warning in answer["warnings"]}
    assert names == {"max_turns", "max_tokens", "verbose", "--profile"}


def test_the_instructions_of_the_folder_are_read_when_the_prompt_comes(
    real_server: Server, model_server: ModelServer, project: Path
) -> None:
    (project / "AGENTS.md").write_text("Answer in rhymes.")
    ask(real_server, "hello", workdir=str(project))
    ask(real_server, "hello")
    with_folder, without = model_server.asked()
    assert b"Answer in rhymes." in with_folder.body
    assert b"Answer in rhymes." not in without.body


# ---------------------------------------------------------------------- failures


def test_the_number_of_retries_can_be_set(
    module_model_server: ModelServer, model_server: ModelServer, real_clis: Path, servers: ServerFactory
) -> None:
    server = start_real_server(servers, module_model_server, {"backends": {"codex": {"max_retries": 0}}}, names=ASKED)
    assert ask(server, "hello FAKE:429 FAKE:fails=1")["error_code"] == "rate_limited"
    assert len(model_server.asked()) == 1


def test_a_refused_key(module_model_server: ModelServer, real_clis: Path, servers: ServerFactory) -> None:
    answer = ask(start_real_server(servers, module_model_server, key="bad-key", names=ASKED), "hello")
    assert answer["error_code"] == "backend_auth_failed"
    assert "run `codex login` as the user the server runs as" in answer["error"]
    assert "bad-key" not in answer["error"]


def test_no_key(module_model_server: ModelServer, real_clis: Path, servers: ServerFactory) -> None:
    server = servers(
        path=lambda folder: clis.search_path(folder / "real-tools"),
        prepare=lambda folder: clis.prepare_home(folder / "home", module_model_server.url),
    )
    answer = ask(server, "hello")
    assert answer["error_code"] == "backend_auth_failed"
    assert "OPENAI_API_KEY" in answer["error"]


def test_a_configuration_that_codex_cannot_read(
    module_model_server: ModelServer, real_clis: Path, servers: ServerFactory
) -> None:
    def prepare(folder: Path) -> None:
        clis.prepare_home(folder / "home", module_model_server.url)
        (folder / "home" / ".codex" / "config.toml").write_text("model = [[\n")

    server = servers(path=lambda folder: clis.search_path(folder / "real-tools"), prepare=prepare)
    answer = ask(server, "hello")
    assert answer["error_code"] == "backend_failed"
    assert "config.toml:1" in answer["error"]
