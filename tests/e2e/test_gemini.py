"""The real gemini behind a real server: what reaches the model, and what reaches the client."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.backends.gemini import GeminiBackend
from services.backends.gemini.signs import NEXT_LINE
from tests.e2e import clis
from tests.e2e.conftest import start_real_server
from tests.e2e.conversing import GEMINI, files_at_home, only
from tests.e2e.fake_upstream import ModelServer, Received
from tests.support import processes
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

SECRET = "the-safe-opens-with-7718"
MODEL = clis.MODELS["gemini"]
ask, events_of = GEMINI.ask, GEMINI.events


def parts_of(received: Received) -> list[str]:
    """The parts of the last message, as they are, without gemini's own first one."""
    parts = [part.get("text", "") for part in received.json()["contents"][-1]["parts"]]
    return [text for text in parts if not text.startswith("<session_context>")]


def system_of(received: Received) -> str:
    (part,) = received.json()["systemInstruction"]["parts"]
    text: str = part["text"]
    return text


@pytest.fixture
def project(tmp_path: Path, real_server: Server) -> Iterator[Path]:
    """A folder with a secret in it, one beside it, and one at home."""
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    secrets = (folder / "secret.txt", folder / "sub" / "inner.txt", tmp_path / "outside.txt")
    at_home = real_server.home / "secret.txt"
    for path in (*secrets, at_home):
        path.write_text(SECRET)
    yield folder
    at_home.unlink()


# ---------------------------------------------------------------------- a prompt is a text

PROMPTS = (
    "/help me",
    "/nosuch thing",
    "/extensions install {folder}",
    " \n/init",
    "$about",
    "!ls -la",
    "#remember this",
    "-p --help",
    "look at @secret.txt now, at @{folder}/secret.txt, a folder: @sub, @sub/inner.txt, and mail a@secret.txt",
    "@{outside} is outside, @../outside.txt too, and @~/secret.txt at home",
    "@codebase_investigator is an agent, @generalist too",
    "  leading, trailing \r\n and odd: \u2028 \u0085 \u200b \U0001f600 \x0b  \n\n\n\n",
)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_is_text(prompt: str, real_server: Server, model_server: ModelServer, project: Path) -> None:
    prompt = prompt.replace("{folder}", str(project)).replace("{outside}", str(project.parent / "outside.txt"))
    answer = ask(real_server, prompt, workdir=str(project))
    (received,) = model_server.asked()
    *before, text = parts_of(received)
    assert text == prompt
    assert before == ([NEXT_LINE] if prompt.lstrip().startswith(("/", "$")) else [])
    assert SECRET.encode() not in received.body
    assert answer["exit_code"] == 0, answer
    assert sorted(path.name for path in project.rglob("*")) == ["inner.txt", "secret.txt", "sub"]


def test_in_its_text_mode_the_file_would_be_read(
    cli_environment: dict[str, str], model_server: ModelServer, project: Path
) -> None:
    """The witness: why the backend speaks ACP."""
    command = [str(clis.BIN / "gemini"), "--skip-trust", "-o", "stream-json", f"--model={MODEL}"]
    subprocess.run(
        command,
        input=b"\nmail a@secret.txt",
        cwd=project,
        env=cli_environment,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert any(SECRET.encode() in received.body for received in model_server.asked())


@pytest.mark.parametrize("field", ["system_prompt", "append_system_prompt"])
def test_a_system_prompt_is_text(field: str, real_server: Server, model_server: ModelServer, project: Path) -> None:
    text = "/help @/etc/hosts @secret.txt @./secret.txt @../outside.txt @~/secret.txt @../settings.json -x ${VAR} $1"
    text += "x" * 1_000_000
    ask(real_server, "hello", workdir=str(project), **{field: text})
    (received,) = model_server.asked()
    assert text in system_of(received)
    assert (system_of(received) == text) == (field == "system_prompt")
    assert SECRET.encode() not in received.body
    assert b"selectedType" not in received.body


def test_both_system_prompts_and_none_of_them_on_the_command_line(
    real_server: Server, model_server: ModelServer
) -> None:
    fields = {"system_prompt": "be a pirate", "append_system_prompt": "be brief", "model": MODEL}
    with real_server.client.stream("hello FAKE:hold", "gemini", **fields) as exchange:
        wait_until(model_server.asked, 30.0)
        commands = [processes.command(process) for process in real_server.of_runs()]
        model_server.release()
        list(exchange.lines())
    (received,) = model_server.asked()
    assert system_of(received).startswith("be a pirate\n\n")
    assert "\nbe brief\n" in system_of(received)
    assert any("--model" in command for command in commands), commands
    assert not [command for command in commands if "be " in command or "hello" in command]


# ---------------------------------------------------------------------- what comes back


def test_thoughts_and_tools_are_told(real_server: Server, project: Path) -> None:
    events = events_of(real_server, "hello FAKE:think FAKE:tool", approval_mode="none", workdir=str(project))
    assert "let me think" in only(events, "thinking")[0]["text"]
    (use,), (result,) = only(events, "tool_use"), only(events, "tool_result")
    assert (use["tool_name"], use["input"]) == ("run_shell_command", {"command": "echo from-the-tool"})
    assert (result["output"], result["is_error"]) == ("from-the-tool", False)


def test_usage_is_what_the_provider_counted(real_server: Server, model_server: ModelServer) -> None:
    answer = ask(real_server, "hello " * 100)
    (received,) = model_server.asked()
    assert received.turn is not None
    assert answer["token_usage"]["input_tokens"] == received.turn.input_tokens
    assert answer["token_usage"]["output_tokens"] == len(answer["output"]) // 4


@pytest.mark.parametrize("words", ["FAKE:tool", "FAKE:n=40 FAKE:delay=0.1", "/init FAKE:500"])
def test_nothing_stays_in_its_home(words: str, real_server: Server) -> None:
    """Nothing of a run that ends, is broken off by its client, or fails."""
    before = files_at_home(real_server)
    fields = {"model": MODEL, "approval_mode": "none", "ephemeral": True}
    with real_server.client.stream(f"hello {words}", "gemini", **fields) as exchange:
        for line in exchange.lines():
            if "delay" in words and b"w5" in line.data:
                exchange.vanish()
                break
    real_server.wait_until_idle()
    wait_until(lambda: files_at_home(real_server) == before)


# ---------------------------------------------------------------------- options


def test_max_tokens_reaches_the_provider(real_server: Server, model_server: ModelServer) -> None:
    ask(real_server, "hello", max_tokens=555)
    assert model_server.asked()[0].json()["generationConfig"]["maxOutputTokens"] == 555


def test_max_turns_ends_the_run(real_server: Server, model_server: ModelServer) -> None:
    answer = ask(real_server, "hello FAKE:loop", max_turns=2, approval_mode="none")
    assert answer["exit_code"] == 1
    assert "max_turns" in answer["error"]
    assert len(model_server.turns()) == 2


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({"approval_mode": "none"}, True),
        ({"approval_mode": "auto"}, False),
        ({"approval_mode": "always"}, False),
        ({}, False),
        ({"extra": ["--approval-mode=yolo"], "approval_mode": "always"}, True),
        ({"approval_mode": "none", "sandbox_mode": "workspace"}, False),
        ({"approval_mode": "none", "sandbox_mode": "read-only"}, False),
        ({"approval_mode": "none", "sandbox_mode": "full"}, True),
    ],
)
def test_who_may_run_commands(fields: dict[str, Any], written: bool, real_server: Server, project: Path) -> None:
    answer = ask(real_server, 'x FAKE:tool FAKE:cmd="touch made"', workdir=str(project), **fields)
    assert answer["exit_code"] == 0, answer
    assert (project / "made").exists() == written


def test_what_gemini_cannot_honour_is_told(real_server: Server, model_server: ModelServer) -> None:
    answer = ask(real_server, "hello", sandbox_mode="read-only", verbose=True)
    assert [warning.partition(":")[0] for warning in answer["warnings"]] == ["sandbox_mode"]
    (turn,) = model_server.turns()
    assert not {"run_shell_command", "write_file", "replace"} & set(turn.tools)
    assert "read_file" in turn.tools


@pytest.mark.parametrize("allowed", [["read_file", "glob"], []])
def test_allowed_tools_are_all_there_is(
    allowed: list[str],
    real_clis: Path,
    model_server: ModelServer,
    module_model_server: ModelServer,
    servers: ServerFactory,
) -> None:
    server = start_real_server(servers, module_model_server, {"backends": {"gemini": {"allowed_tools": allowed}}})
    ask(server, "hello")
    assert sorted(model_server.turns()[0].tools) == sorted(allowed)


def test_every_allowed_flag_is_one_of_geminis(real_server: Server) -> None:
    values = {"--model": MODEL, "--approval-mode": "plan"}
    flags = [f"{flag}={values[flag]}" if value else flag for flag, value in GeminiBackend.extra_flags.items()]
    answer = real_server.client.prompt("hello", "gemini", extra=flags).json()
    assert (answer["exit_code"], answer["model"]) == (0, MODEL), answer


def test_the_users_own_settings_stay_in_force(
    real_clis: Path, model_server: ModelServer, module_model_server: ModelServer, servers: ServerFactory
) -> None:
    server = start_real_server(servers, module_model_server)
    gemini = server.home / ".gemini"
    settings = json.loads((gemini / "settings.json").read_text())
    text = json.dumps(settings | {"tools": {"exclude": ["glob"]}}) + " // mine"
    (gemini / "settings.json").write_text(text)
    (gemini / "GEMINI.md").write_text("the user likes haiku")
    ask(server, "hello")
    (received,) = model_server.asked()
    assert received.turn is not None
    assert "glob" not in received.turn.tools
    assert "the user likes haiku" in system_of(received)
    assert (gemini / "settings.json").read_text() == text


# ---------------------------------------------------------------------- failures


@pytest.mark.parametrize("key", ["", "bad-key"])
def test_a_login_that_is_missing_or_refused(
    key: str, real_clis: Path, module_model_server: ModelServer, servers: ServerFactory
) -> None:
    server = start_real_server(servers, module_model_server, key=key)
    answer = ask(server, "hello")
    assert answer["error_code"] == "backend_auth_failed", answer
    assert "run `gemini` and log in" in answer["error"]
