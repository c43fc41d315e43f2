"""The commands and programs of docs/api.md, run as they are typed against a server with the fake CLIs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.guard import ROOT, clean_environment, minimal_bin
from tests.support.server import Server

ADDRESS = "http://127.0.0.1:8080"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE | re.DOTALL)
SNIPPETS: list[tuple[str, str]] = [(language, block) for language, block in BLOCKS if ADDRESS in block]
RUN = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-Werror", "-c"]}


def test_there_are_some_of_both() -> None:
    assert {language for language, _ in SNIPPETS} == {"sh", "python"}


@pytest.mark.parametrize(("language", "snippet"), SNIPPETS, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(SNIPPETS)])
def test_a_snippet_prints_the_answer(server: Server, tmp_path: Path, language: str, snippet: str) -> None:
    typed = snippet.replace(ADDRESS, f"http://127.0.0.1:{server.port}")
    environment = clean_environment(tmp_path, str(minimal_bin(tmp_path / "bin", ["curl"])))
    done = subprocess.run(
        [*RUN[language], typed], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fake-cli name=" in done.stdout
