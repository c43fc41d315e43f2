"""The commands and programs of docs/api.md, run as they are typed against a server with the fake CLIs."""

import subprocess
import sys
from pathlib import Path

from tests.support.documents import Block, each_block
from tests.support.guard import clean_environment, minimal_bin
from tests.support.server import Server
from tests.support.shell import STRICT

RUN = {"sh": STRICT, "python": (sys.executable, "-Werror", "-c")}


@each_block()
def test_a_snippet_prints_the_answer(server: Server, tmp_path: Path, block: Block) -> None:
    environment = clean_environment(tmp_path, str(minimal_bin(tmp_path / "bin", ["curl"])))
    done = subprocess.run(
        [*RUN[block.language], block.at(server.port)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fake-cli name=" in done.stdout
