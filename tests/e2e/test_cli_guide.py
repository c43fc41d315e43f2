"""The commands of docs/cli.md, run by a shell as they are typed."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from app.cli import parser
from tests.app.conftest import GUNICORN
from tests.support.documents import Block, each_block
from tests.support.guard import ROOT, clean_environment, minimal_bin
from tests.support.server import Server, ServerFactory, fakes
from tests.support.shell import printed, serving
from tests.support.waiting import free_port

PAGE = (ROOT / "docs" / "cli.md").read_text()
DEMO = "This is the demo backend: a small program, not an AI"


def is_configuration(printed: str) -> None:
    assert yaml.safe_load(printed)["server"]["host"] == "127.0.0.1"


def is_page(printed: str) -> None:
    assert "\nBackends\n" in printed
    assert "claude, codex, gemini can answer." in printed


def is_report(printed: str) -> None:
    assert json.loads(printed)["ready"] == ["claude", "codex", "gemini"]


def is_answer(printed: str) -> None:
    assert re.match(r"fake-cli name=claude turn=[12] ", printed)


def is_of_demo(printed: str) -> None:
    assert DEMO in printed


def is_events(printed: str) -> None:
    assert json.loads(printed.splitlines()[-1])["type"] == "done"


def is_command_line(printed: str) -> None:
    assert printed == "gemini --acp --skip-trust <stdin>\n"


def is_both(printed: str) -> None:
    assert re.search(
        rf"── demo \(demo\) ──\n\n{DEMO}.*── claude \(claude-fake\) ──\n\nfake-cli name=claude ", printed, re.S
    )


def is_comparison(printed: str) -> None:
    results = json.loads(printed)["results"]
    assert [(result["backend"], result["exit_code"]) for result in results] == [("claude", 0), ("codex", 0)]


def is_list(printed: str) -> None:
    assert printed.startswith("ID ") or printed == "There are no sessions.\n"


def is_listed(printed: str) -> None:
    assert json.loads(printed).keys() == {"sessions", "total"}


def is_cleaned(printed: str) -> None:
    assert printed == "Deleted 0 sessions not used for 30 days.\n"


CHECKS: list[Callable[[str], None]] = [
    is_configuration, is_page, is_report, is_answer, is_answer, is_answer, is_answer, is_answer, is_answer,
    is_of_demo, is_events, is_command_line, is_of_demo, is_of_demo, is_both, is_comparison,
    is_list, is_listed, is_cleaned,
]  # fmt: skip
"""What each of the commands prints, in the order of the page."""

LOGGED_IN = '{"loggedIn": true, "authMethod": "api_key", "apiKeySource": "ANTHROPIC_API_KEY"}'
STATUS = """case "$*" in
  --version) echo {version};;
  *"auth status"*|"login status") echo '{login}';;
  *) exec "{program}" "$@";;
esac
"""


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers(arguments=("--demo",))


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> dict[str, str]:
    """An environment with ``clinvk``, with CLIs that are logged in, and with the server's configuration."""
    programs = minimal_bin(tmp_path / "bin")
    (programs / "clinvk").symlink_to(GUNICORN.with_name("clinvk"))
    clis = fakes(tmp_path / "clis")
    for name, version in (("claude", "2.1.197"), ("codex", "0.169.0")):
        (programs / name).write_text(
            f"#!/bin/sh\n{STATUS.format(version=version, login=LOGGED_IN, program=clis.bin / name)}"
        )
        (programs / name).chmod(0o755)
    clean = clean_environment(server.home, f"{programs}:{clis.bin}")
    return clean | {"CLINVK_CONFIG": str(server.folder / "config.yaml"), "GEMINI_API_KEY": "k"}


@each_block(checks=CHECKS, line_by_line=True)
def test_a_command_does_what_the_page_says(
    server: Server, shell: dict[str, str], tmp_path: Path, block: Block, check: Callable[[str], None]
) -> None:
    if "--continue" in block.text:
        server.client.prompt("My name is Ada.")
    printed("git init -q", shell, tmp_path)
    check(printed(block.at(server.port), shell, tmp_path))


@each_block()
def test_a_server_starts_as_the_page_says(tmp_path: Path, shell: dict[str, str], block: Block) -> None:
    port = free_port()
    del shell["CLINVK_CONFIG"]
    command = block.text.replace("8080", str(port))
    with serving(command, shell | {"CLINVK_HOME": str(tmp_path / "h")}, tmp_path, port) as client:
        assert client.prompt("hi", backend="demo").json()["output"].startswith(DEMO)


@each_block()
def test_the_report_looks_like_this(shell: dict[str, str], tmp_path: Path, block: Block) -> None:
    """But for where the program is, and the end of what it runs."""
    programs = Path(shell["PATH"].partition(":")[0])
    (programs / "codex").unlink()
    report = printed("clinvk doctor", shell | {"PATH": str(programs), "ANTHROPIC_API_KEY": "k"}, tmp_path)
    report = report.replace(str(programs), "/usr/bin")
    report = re.sub(r"(?m)^(    runs     claude -p --input-format stream-json) .*", r"\1 …", report)
    assert block.text in report


def test_every_option_is_told() -> None:
    commands = parser()._subparsers
    assert commands is not None
    (actions,) = commands._group_actions
    assert isinstance(actions.choices, dict)
    for name in ("serve", "doctor", "prompt", "compare"):
        assert f"clinvk {name}" in PAGE
        for action in actions.choices[name]._actions:
            for option in action.option_strings:
                assert (
                    option in ("-h", "--help", "-p")
                    or f"`{option}" in PAGE
                    or f" {option} " in PAGE
                    or f"{option}`" in PAGE
                ), option
