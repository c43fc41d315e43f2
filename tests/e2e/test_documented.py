"""The snippets of the documents, run as they stand but for the port, with the real claude behind the server."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import clis
from tests.e2e.clients.roster import LITELLM_PYTHON
from tests.e2e.fake_upstream import ModelServer
from tests.support import guard
from tests.support.guard import ROOT
from tests.support.server import Server

ASKED = ("claude",)
ADDRESS = "http://127.0.0.1:8080"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"README.md": {"python", "javascript"}, "docs/clients.md": {"python", "javascript", "sh"}}
"""What of each page is run here; the shell commands of README.md are typed by ``tests/test_readme.py``."""
LLM_MODELS = "extra-openai-models.yaml"


@dataclass(frozen=True, slots=True)
class Snippet:
    """A block of code on a page."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}-{self.language}"


def snippets() -> Iterator[Snippet]:
    for page, languages in LANGUAGES.items():
        for number, (language, text) in enumerate(BLOCK.findall((ROOT / page).read_text())):
            if language in languages:
                yield Snippet(page, number, language, text)


SNIPPETS = tuple(snippets())


def program(snippet: Snippet, text: str, folder: Path) -> list[str]:
    """The command that runs it: a file in the folder, with the interpreter that has its libraries."""
    name = {"python": "snippet.py", "javascript": "snippet.mjs", "sh": "snippet.sh"}[snippet.language]
    (folder / name).write_text(text)
    match snippet.language:
        case "javascript":
            (folder / "node_modules").symlink_to(clis.BIN.parent)
            return [shutil.which("node", path=guard.REAL_PATH) or "node", name]
        case "sh":
            return ["bash", "-eu", name]
        case _:
            return [str(LITELLM_PYTHON) if "import litellm" in text else sys.executable, name]


def environment(folder: Path, address: str) -> dict[str, str]:
    """A clean environment with the commands that the pages speak of, and llm's models as the page has them."""
    tools = guard.minimal_bin(folder / "tools", clis.TOOLS)
    (tools / "llm").symlink_to(Path(sys.executable).with_name("llm"))
    (tools / "claude").symlink_to(clis.BIN / "claude")
    (models,) = (
        text
        for language, text in BLOCK.findall((ROOT / "docs" / "clients.md").read_text())
        if language == "yaml" and "model_id" in text
    )
    (folder / LLM_MODELS).write_text(models.replace(ADDRESS, address))
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    return {**guard.clean_environment(folder, str(tools)), **offline, "LLM_USER_PATH": str(folder)}


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_a_snippet_prints_the_models_answer(
    snippet: Snippet, real_server: Server, model_server: ModelServer, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{real_server.port}"
    assert ADDRESS in snippet.text or snippet.language == "sh"
    command = program(snippet, snippet.text.replace(ADDRESS, address), tmp_path)
    done = subprocess.run(
        command,
        env=environment(tmp_path, address),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"fake turn=1 chars=6 model=claude-\S+ sys=\d+ \| w0 w1 w2 \n?", done.stdout)
    assert [turn.prompt for turn in model_server.turns()] == ["Hello!"]


@pytest.mark.offline
def test_the_three_that_everyone_looks_for_are_on_the_first_page() -> None:
    first = [snippet for snippet in SNIPPETS if snippet.page == "README.md"]
    assert [snippet.language for snippet in first] == ["python", "python", "javascript"]
    for snippet, url in zip(first, ("openai/v1", "anthropic/v1", "openai/v1"), strict=True):
        assert f"{ADDRESS}/{url}" in snippet.text
