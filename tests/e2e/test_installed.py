"""The command lines are the ones named in package.json, and talk to the fake model server."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e import clis
from tests.e2e.fake_upstream import ModelServer

HERE = Path(__file__).parent
PACKAGES = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex", "gemini": "@google/gemini-cli"}
ASK = {
    "claude": ["claude", "-p", "--output-format", "text"],
    "codex": ["codex", "exec", "--skip-git-repo-check", "-"],
    "gemini": ["gemini", "--skip-trust", "-m", clis.MODELS["gemini"]],
}


def run(environment: dict[str, str], cwd: Path, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = [str(clis.BIN / command[0]), *command[1:]]
    return subprocess.run(
        program, env=environment, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", clis.NAMES)
def test_has_the_locked_version(name: str, cli_environment: dict[str, str], tmp_path: Path) -> None:
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"][PACKAGES[name]]

    assert wanted in run(cli_environment, tmp_path, name, "--version").stdout


@pytest.mark.parametrize("name", clis.NAMES)
def test_asks_the_model_server(
    name: str, cli_environment: dict[str, str], model_server: ModelServer, tmp_path: Path
) -> None:
    done = run(cli_environment, tmp_path, *ASK[name], stdin="hello FAKE:n=2")

    assert done.returncode == 0, done.stderr
    assert "w0 w1" in done.stdout
    turn = model_server.turns()[-1]
    assert turn.prompt.strip() == "hello FAKE:n=2"
    assert turn.turns == 1
    assert len(turn.system) > 1000


def test_the_lock_file_names_no_registry() -> None:
    lock = (HERE / "package-lock.json").read_text()

    assert "resolved" not in lock
    assert all('"url"' in line for line in lock.splitlines() if "://" in line), "only where to thank"
    assert str(HERE) not in lock
