"""The commands of README.md that talk to the server, run by a shell as they are typed."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.backends import BUILT_IN
from tests.support.documents import Block, blocks_of_page, each_block
from tests.support.guard import REAL_PATH, ROOT, clean_environment, minimal_bin
from tests.support.server import Server, ServerFactory
from tests.support.shell import printed

PAGES = [(ROOT / name).read_text() for name in ("README.md", "README.zh.md")]
ENGLISH = blocks_of_page("README.md")
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


@each_block(checks=CHECKS)
def test_a_command_does_what_the_page_says(
    server: Server, tmp_path: Path, block: Block, check: Callable[[str], None]
) -> None:
    programs = minimal_bin(tmp_path / "bin", ["curl"])
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    check(printed(block.at(server.port), clean_environment(tmp_path, str(programs)), tmp_path))


@each_block()
def test_a_block_of_the_chinese_page_is_the_english_one(block: Block) -> None:
    assert (block.language, block.text) == (ENGLISH[block.number].language, ENGLISH[block.number].text)


def test_the_chinese_page_has_the_same_commands_and_links() -> None:
    english, chinese = PAGES
    assert "(README.zh.md)" in english[:100]
    assert "(README.md)" in chinese[:100]
    for pattern in (r"^```.*?^```$", r"^(?:#+) ", r"\]\(((?!README)[^)]*)\)"):
        found = [re.findall(pattern, page, re.MULTILINE | re.DOTALL) for page in (english, chinese)]
        assert found[0]
        assert found[0] == found[1]


@pytest.mark.parametrize("page", PAGES, ids=["English", "Chinese"])
def test_the_table_tells_how_to_install_each_cli_as_the_server_does(page: str) -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| `(npm install [^`]*)` \|", page, re.MULTILINE))
    assert told.keys() == {"claude", "codex", "gemini"}
    tested = json.loads((ROOT / "tests" / "e2e" / "package.json").read_text())["dependencies"]
    for name, command in told.items():
        assert command in BUILT_IN[name].install_hint
        assert command.split()[-1] in tested
