"""The real CLIs, started in advance: on every route, with the right answer and nothing of the prompt before."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import clis
from tests.e2e.conftest import start_real_server
from tests.e2e.conversing import CLAUDE, CODEX, GEMINI, Cli, deleted
from tests.e2e.fake_upstream import ModelServer
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

CONFIG: dict[str, object] = {
    "server": {"warm_processes": 4, "metrics_enabled": True},
    "session": {"keep_warm_secs": 60},
}
SECRET = "swordfish"
QUESTION = "what was the word?"


@pytest.fixture(scope="module")
def warm_server(real_clis: Path, module_model_server: ModelServer, servers: ServerFactory) -> Server:
    """A server that starts the real CLIs in advance."""
    server = start_real_server(servers, module_model_server, CONFIG)
    clis.wait_until_known(server)
    return server


def native(server: Server, cli: Cli, text: str, **fields: Any) -> str:
    answer = server.client.prompt(text, cli.backend, model=clis.MODELS[cli.backend], **fields).json()
    assert answer["exit_code"] == 0, answer
    return str(answer["output"])


def ephemeral(server: Server, cli: Cli, text: str) -> str:
    return native(server, cli, text, ephemeral=True)


def chat(cli: Cli, text: str) -> dict[str, Any]:
    return {
        "model": f"{cli.backend}/{clis.MODELS[cli.backend]}",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": text}],
    }


def openai(server: Server, cli: Cli, text: str) -> str:
    answer = server.client.post("/openai/v1/chat/completions", chat(cli, text))
    assert answer.status == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def anthropic(server: Server, cli: Cli, text: str) -> str:
    answer = server.client.post("/anthropic/v1/messages", chat(cli, text))
    assert answer.status == 200, answer.text
    return str(answer.json()["content"][0]["text"])


ROUTES: Mapping[str, Callable[[Server, Cli, str], str]] = {
    "native": native,
    "ephemeral": ephemeral,
    "openai": openai,
    "anthropic": anthropic,
}


def figures(server: Server, name: str) -> float:
    """The sum of all series whose names begin so."""
    lines = server.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def hits(server: Server, cli: Cli) -> float:
    return figures(server, f'clinvk_warm_runs_total{{backend="{cli.backend}"}} ')


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("cli", [CLAUDE, CODEX, GEMINI], ids=lambda cli: cli.backend)
def test_the_next_prompt_finds_its_cli_there(
    cli: Cli, route: str, warm_server: Server, model_server: ModelServer
) -> None:
    ask = ROUTES[route]
    ask(warm_server, cli, f"the word is {SECRET}")

    def is_asked_warm() -> bool:
        """Ask; whether the CLI was there, which may be a moment after the answer before."""
        model_server.clear()
        count = hits(warm_server, cli)
        answer = ask(warm_server, cli, QUESTION)
        (asked,) = model_server.asked()
        assert cli.prompts(asked) == [QUESTION]
        assert SECRET not in str(asked)
        assert f"turn=1 chars={len(QUESTION)} " in answer
        return hits(warm_server, cli) == count + 1

    wait_until(is_asked_warm, clis.START_S)


@pytest.mark.parametrize("own_folder", [False, True], ids=["private", "workdir"])
@pytest.mark.parametrize("cli", [CLAUDE, CODEX, GEMINI], ids=lambda cli: cli.backend)
def test_the_next_turn_of_a_session_finds_its_cli_there(
    cli: Cli, own_folder: bool, warm_server: Server, model_server: ModelServer, tmp_path: Path
) -> None:
    fields = {"workdir": str(tmp_path)} if own_folder else {}
    session_id = cli.begun(warm_server, "turn 1", **fields)
    asked = ["turn 1"]

    def is_asked_warm() -> bool:
        """Ask for another turn; whether the CLI was there, which may be a moment after the turn before."""
        asked.append(f"turn {len(asked) + 1}")
        count = hits(warm_server, cli)
        answer = cli.continued(warm_server, session_id, asked[-1])
        assert f"turn={len(asked)} " in answer["output"]
        assert cli.prompts_seen(model_server) == asked
        return hits(warm_server, cli) == count + 1

    for _ in range(2):
        wait_until(is_asked_warm, clis.START_S, every_s=1.0)
    assert deleted(warm_server, session_id)


def test_what_is_listed_is_there_for_the_first_prompt(
    real_clis: Path, model_server: ModelServer, module_model_server: ModelServer, servers: ServerFactory
) -> None:
    listed = [
        {
            "backend": cli.backend,
            "model": clis.MODELS[cli.backend],
            "api": api,
            "max_tokens": 0 if api == "native" else 500,
        }
        for cli in (CLAUDE, CODEX, GEMINI)
        for api in ("native", "openai", "anthropic")
    ]
    settings = {"warm_processes": len(listed), "warm_at_start": listed, "metrics_enabled": True}
    server = start_real_server(servers, module_model_server, {"server": settings})
    wait_until(lambda: figures(server, "clinvk_warm_processes") == len(listed), clis.START_S)
    for cli in (CLAUDE, CODEX, GEMINI):
        for number, route in enumerate(("native", "openai", "anthropic"), 1):
            assert "turn=1 " in ROUTES[route](server, cli, QUESTION)
            assert hits(server, cli) == number, (cli.backend, route)
