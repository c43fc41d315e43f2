"""README.md, typed as it stands in a checkout: ``make serve``, and what comes after the first day."""

import json
import signal
import sys
from pathlib import Path

from tests.support import guard
from tests.support.documents import Block, each_block
from tests.support.server import fakes
from tests.support.shell import printed, serving
from tests.support.waiting import free_port

TOOLS = ("make", "grep", "sed", "expand", "cp")
DEMO = "This is the demo backend"


def environment(folder: Path, **variables: str) -> dict[str, str]:
    tools = guard.minimal_bin(folder / "tools", TOOLS)
    return guard.clean_environment(folder, f"{fakes(folder / 'clis').bin}:{tools}") | variables


@each_block()
def test_make_serve_starts_a_server_that_answers(tmp_path: Path, block: Block) -> None:
    """In this checkout, whose virtual environment is there already."""
    port = free_port()
    installed = {"VENV": sys.prefix, "MAKEFLAGS": f"--old-file={sys.prefix}/.installed"}
    variables = environment(tmp_path, PORT=str(port), **installed)
    command = f"env --chdir={guard.ROOT} {block.text}"
    with serving(command, variables, tmp_path, port, exit_code=-signal.SIGTERM) as client:  # make's own
        assert client.prompt("Hello!", "demo").json()["output"].startswith(DEMO)


@each_block()
def test_a_server_for_good(tmp_path: Path, block: Block) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "deploy").symlink_to(guard.ROOT / "deploy")
    port = free_port()
    variables = environment(tmp_path)
    copy, serve, check, listed = block.lines()
    printed(copy.text, variables, tmp_path)
    with serving(serve.text.replace("8080", str(port)), variables, tmp_path, port) as client:
        session = client.prompt("Hello!").json()["session_id"]
        assert "\nserver:\n" in printed(check.text, variables, tmp_path)
        assert session[:8] in printed(listed.text, variables, tmp_path)
        assert json.loads(client.get("/health").body)["runs"]["limit"] > 1
