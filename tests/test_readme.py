"""The commands of README.md that talk to the server, run by a shell as they are typed."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.guard import REAL_PATH, ROOT, clean_environment, minimal_bin
from tests.support.server import Server, ServerFactory

ADDRESS = "http://127.0.0.1:8080"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
COMMANDS: list[str] = [block for block in BLOCKS if ADDRESS in block]
DEMO = "This is the demo backend: a small program, not an AI"

pytestmark = pytest.mark.skipif(not shutil.which("curl", path=REAL_PATH), reason="README.md speaks to curl")


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    """What ``make serve`` starts, on a port of its own, and with fakes in place of the CLIs."""
    return servers(arguments=("--demo",))


def is_answer(printed: str) -> None:
    answer = json.loads(printed)
    assert (answer["backend"], answer["exit_code"], "error" in answer) == ("demo", 0, False)
    assert answer["output"].startswith(DEMO)
    assert 'begins: "Hello!"' in answer["output"]


def is_stream(printed: str) -> None:
    events = [json.loads(line) for line in printed.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    pieces = [event["content"]["text"] for event in events if event["type"] == "message"]
    assert len(pieces) > 10
    assert "".join(pieces).startswith(DEMO)
    assert [event["type"] for event in events if event["type"] in ("done", "error")] == ["done"]


def is_text(printed: str) -> None:
    assert printed.startswith(DEMO)
    assert printed.endswith("for real answers.")


def is_comparison(printed: str) -> None:
    answer = json.loads(printed)
    assert answer["backends"] == ["demo", "claude"]
    demo, claude = answer["results"]
    assert (demo["exit_code"], demo["output"].startswith(DEMO)) == (0, True)
    assert claude["output"].startswith("fake-cli name=claude turn=1 ")


def is_second_turn(printed: str) -> None:
    answer = json.loads(printed)
    assert (answer["backend"], answer["exit_code"]) == ("claude", 0)
    assert answer["output"].startswith("fake-cli name=claude turn=2 ")


def is_sessions_and_runs(printed: str) -> None:
    sessions, end = json.JSONDecoder().raw_decode(printed)
    runs = json.loads(printed[end:])
    assert sessions["total"] == len(sessions["sessions"])
    assert runs == {"runs": []}


CHECKS: list[Callable[[str], None]] = [
    is_answer, is_stream, is_text, is_comparison, is_second_turn, is_sessions_and_runs,
]  # fmt: skip
"""What each of the commands prints, in the order of the page."""


def _name(part: Any) -> str:
    return part.__name__ if callable(part) else ""


def test_every_command_has_its_check() -> None:
    assert len(COMMANDS) == len(CHECKS)


@pytest.mark.parametrize(("check", "command"), [*zip(CHECKS, COMMANDS, strict=False)], ids=_name)
def test_a_command_does_what_the_page_says(
    server: Server, tmp_path: Path, check: Callable[[str], None], command: str
) -> None:
    typed = command.replace(ADDRESS, f"http://127.0.0.1:{server.port}")
    programs = minimal_bin(tmp_path / "bin", ["curl"])
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    environment = clean_environment(tmp_path, str(programs))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check(done.stdout)


@pytest.mark.parametrize(
    "page", ["README.md", "README.zh.md", "docs/api.md", "docs/clients.md", "docs/configuration.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    text = path.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        linked = path.parent / target if target else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, anchor


def test_the_chinese_page_has_the_same_commands_and_links() -> None:
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))
    assert "(README.zh.md)" in english[:100]
    assert "(README.md)" in chinese[:100]
    for pattern in (r"^```.*?^```$", r"^(?:#+) ", r"\]\(((?!README)[^)]*)\)"):
        found = [re.findall(pattern, page, re.MULTILINE | re.DOTALL) for page in (english, chinese)]
        assert found[0]
        assert found[0] == found[1]
