"""The real claude behind a real server: what reaches the model, and what reaches the client."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from services.backends.claude import ClaudeBackend
from tests.e2e import clis
from tests.e2e.conftest import start_real_server
from tests.e2e.conversing import claude_texts as texts_of
from tests.e2e.conversing import files_at_home, only
from tests.e2e.fake_upstream import ModelServer, Received
from tests.support import processes
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

ASKED = ("claude",)
SECRET = "the-safe-opens-with-7718"
MODEL = clis.MODELS["claude"]


def system_of(received: Received) -> list[str]:
    return [part["text"] for part in received.json()["system"]]


@pytest.fixture
def project(tmp_path: Path, real_server: Server) -> Iterator[Path]:
    """A folder that would like its files to be read: its settings switch attachments on."""
    folder = tmp_path / "project"
    (folder / ".claude").mkdir(parents=True)
    settings = {"env": {"CLAUDE_CODE_DISABLE_ATTACHMENTS": "", "CLAUDE_CODE_MAX_RETRIES": "9"}}
    (folder / ".claude" / "settings.json").write_text(json.dumps(settings))
    secrets = (folder / "secret.txt", tmp_path / "outside.txt", real_server.home / "secret.txt")
    for path in secrets:
        path.write_text(SECRET)
    yield folder
    secrets[-1].unlink()


# ---------------------------------------------------------------------- a prompt is a text

PROMPTS = (
    "/help me",
    "/nosuch thing",
    "/clear",
    "!ls -la",
    "#remember this",
    "-p --help",
    "--version",
    "look at @secret.txt now, at @{folder}/secret.txt and mail a@secret.txt",
    "@{outside} is outside, @../outside.txt too, and @~/secret.txt at home",
    "  leading, trailing \r\n and odd: \u2028 \u0085 \u200b \U0001f600 \x0b  \n\n",
)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_is_text(prompt: str, real_server: Server, model_server: ModelServer, project: Path) -> None:
    prompt = prompt.replace("{folder}", str(project)).replace("{outside}", str(project.parent / "outside.txt"))
    answer = real_server.client.prompt(prompt, workdir=str(project)).json()
    (received,) = model_server.asked()
    assert ("\n" + prompt if prompt.startswith("/") else prompt) in texts_of(received)
    assert SECRET.encode() not in received.body
    assert answer["exit_code"] == 0, answer


@pytest.mark.parametrize("fields", [{"max_tokens": 99}, {"system_prompt": "be"}, {"max_turns": 3}, {"model": MODEL}])
def test_a_prompt_stays_text_whatever_the_options(
    fields: dict[str, Any], real_server: Server, model_server: ModelServer, project: Path
) -> None:
    real_server.client.prompt("look at @secret.txt now", workdir=str(project), **fields)
    (received,) = model_server.asked()
    assert "look at @secret.txt now" in texts_of(received)
    assert SECRET.encode() not in received.body


def test_without_the_guard_the_file_would_be_read(
    cli_environment: dict[str, str], model_server: ModelServer, project: Path
) -> None:
    """The witness: the folder's settings undo what stands in the environment alone."""
    environment = cli_environment | {"CLAUDE_CODE_DISABLE_ATTACHMENTS": "1"}
    command = [str(clis.BIN / "claude"), "-p", "--no-session-persistence"]
    subprocess.run(command, input=b"look at @secret.txt now", cwd=project, env=environment, check=True, timeout=60)
    assert any(SECRET.encode() in received.body for received in model_server.asked())


@pytest.mark.parametrize("field", ["system_prompt", "append_system_prompt"])
def test_a_system_prompt_is_text(field: str, real_server: Server, model_server: ModelServer, project: Path) -> None:
    text = "/help @/etc/hostname @../outside.txt @~/secret.txt -x !y" + "x" * 1_000_000
    real_server.client.prompt("hello", workdir=str(project), **{field: text})
    (received,) = model_server.asked()
    (system,) = [part for part in system_of(received) if text in part]
    assert (system == text) == (field == "system_prompt")
    assert SECRET.encode() not in received.body


def test_both_system_prompts_and_none_of_them_on_the_command_line(
    real_server: Server, model_server: ModelServer
) -> None:
    fields = {"system_prompt": "be a pirate", "append_system_prompt": "be brief", "model": MODEL}
    with real_server.client.stream("hello FAKE:hold", **fields, extra=["--append-system-prompt=be kind"]) as exchange:
        (received,) = wait_until(model_server.asked, 30.0)
        commands = [processes.command(process) for process in real_server.of_runs()]
        model_server.release()
        list(exchange.lines())
    assert "be a pirate\n\nbe brief\n\nbe kind" in system_of(received)
    assert any("--model" in command for command in commands), commands
    assert not [command for command in commands if "be " in command or "hello" in command]


# ---------------------------------------------------------------------- what comes back


def events_of(server: Server, prompt: str, **fields: Any) -> list[Mapping[str, Any]]:
    with server.client.stream(prompt, **fields) as exchange:
        return list(exchange.events())


def test_thoughts_and_tools_are_told(real_server: Server) -> None:
    events = events_of(real_server, "hello FAKE:think FAKE:tool", extra=["--allowed-tools", "Bash"])
    assert "".join(thought["text"] for thought in only(events, "thinking")).startswith("let me think")
    (use,), (result,) = only(events, "tool_use"), only(events, "tool_result")
    assert use["tool_name"] == "Bash"
    assert use["input"]["command"] == "echo from-the-tool"
    assert result["output"] == "from-the-tool"
    assert not result["is_error"]


def test_usage_is_what_the_provider_counted(real_server: Server, model_server: ModelServer) -> None:
    answer = real_server.client.prompt("hello " * 100).json()
    (received,) = model_server.asked()
    assert received.turn is not None
    usage = answer["token_usage"]
    assert usage["input_tokens"] == received.turn.input_tokens + 7 + 11
    assert usage["cached_tokens"] == 11
    assert usage["output_tokens"] == len(answer["output"]) // 4
    assert answer["cost_usd"] > 0


def test_a_stream_that_breaks_off_is_not_repeated(real_server: Server, model_server: ModelServer) -> None:
    answer = real_server.client.prompt("hello FAKE:drop FAKE:n=8 FAKE:delay=0.1").json()
    assert answer["exit_code"] == 0
    assert answer["output"].count("fake turn=1") == 1
    assert answer["output"].endswith("w0 w1 w2 w3 w4 w5 w6 w7 ")
    assert len(model_server.asked()) == 2


def test_nothing_of_an_ephemeral_run_stays_in_claudes_home(real_server: Server) -> None:
    def files() -> set[Path]:
        return {path for path in files_at_home(real_server) if path.is_file()}

    real_server.client.prompt("hello", ephemeral=True)
    before = files()
    real_server.client.prompt("hello FAKE:tool", ephemeral=True, extra=["--allowed-tools", "Bash"])
    wait_until(lambda: files() <= before)  # what the first one left may have been about to be removed


# ---------------------------------------------------------------------- options


def test_max_tokens_reaches_the_provider_and_its_stop_ends_the_answer(
    real_server: Server, model_server: ModelServer
) -> None:
    answer = real_server.client.prompt("hello FAKE:truncate", max_tokens=555).json()
    assert model_server.asked()[0].json()["max_tokens"] == 555
    assert answer["exit_code"] == 0
    assert answer["output"].count("fake turn") == 1
    assert answer["output"].endswith("w2 ")


def test_max_turns_ends_the_run(real_server: Server, model_server: ModelServer) -> None:
    answer = real_server.client.prompt("hello FAKE:loop", max_turns=2, extra=["--allowed-tools", "Bash"]).json()
    assert answer["exit_code"] == 1
    assert "max_turns" in answer["error"]
    assert len(model_server.turns()) == 2


@pytest.mark.parametrize(("mode", "written"), [("auto", True), ("none", False), ("always", False), ("default", False)])
def test_approval_modes(mode: str, written: bool, real_server: Server, project: Path) -> None:
    """Auto may change files of the folder unasked; in the other modes nobody is there to be asked."""
    command = f"touch {project}/made"
    events = events_of(real_server, f'x FAKE:tool FAKE:cmd="{command}"', approval_mode=mode, workdir=str(project))
    (result,) = only(events, "tool_result")
    assert (project / "made").exists() == written
    assert result["is_error"] != written


def test_what_claude_cannot_honour_is_told(real_server: Server) -> None:
    answer = real_server.client.prompt("hello", sandbox_mode="read-only", verbose=True).json()
    assert answer["exit_code"] == 0
    assert [warning.partition(":")[0] for warning in answer["warnings"]] == ["sandbox_mode"]


def test_extra_flags_reach_claude(real_server: Server, model_server: ModelServer) -> None:
    real_server.client.prompt("hello", extra=["--effort", "low", "--disallowed-tools=Bash", "--model=claude-opus-4-8"])
    (received,) = model_server.asked()
    assert received.json()["output_config"] == {"effort": "low"}
    assert received.turn is not None
    assert received.turn.model == "claude-opus-4-8"
    assert "Bash" not in received.turn.tools


@pytest.mark.parametrize(("allowed", "seen"), [(["Bash(echo *)", "Read"], {"Bash", "Read"}), ([], set())])
def test_allowed_tools_are_all_there_is(  # noqa: PLR0917 - what it needs
    allowed: list[str],
    seen: set[str],
    real_clis: Path,
    model_server: ModelServer,
    module_model_server: ModelServer,
    servers: ServerFactory,
) -> None:
    server = start_real_server(
        servers, module_model_server, {"backends": {"claude": {"allowed_tools": allowed}}}, names=ASKED
    )
    events = events_of(server, "hello FAKE:tool")
    assert set(model_server.turns()[0].tools) == seen
    (result,) = only(events, "tool_result")
    assert result["is_error"] != bool(allowed)


def test_every_allowed_flag_is_one_of_claudes(cli_environment: dict[str, str], tmp_path: Path) -> None:
    """A flag that claude does not know ends it before it has read anything."""
    numbers = dict.fromkeys(("--max-turns", "--max-budget-usd"), "1")
    values = {**numbers, "--permission-mode": "plan", "--effort": "low", "--fallback-model": "other"}
    flags = [
        f"{flag}={values.get(flag, 'Read')}" if value else flag for flag, value in ClaudeBackend.extra_flags.items()
    ]

    def said(*more: str) -> bytes:
        command = [str(clis.BIN / "claude"), "-p", *flags, *more]
        return subprocess.run(
            command, input=b"", cwd=tmp_path, env=cli_environment, capture_output=True, timeout=60, check=False
        ).stderr

    assert b"Input must be provided" in said(), flags
    assert b"unknown option" in said("--no-such-flag")


# ---------------------------------------------------------------------- failures


def test_a_login_that_is_missing(
    real_clis: Path, module_model_server: ModelServer, model_server: ModelServer, servers: ServerFactory
) -> None:
    server = start_real_server(servers, module_model_server, key="", names=ASKED)
    answer = server.client.prompt("hello").json()
    assert answer["error_code"] == "backend_auth_failed"
    assert "run `claude` and log in" in answer["error"]
    assert not model_server.turns()
