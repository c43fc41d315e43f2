"""The snippets of the documents, run as they stand but for the port, with the real claude behind the server."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e import clis
from tests.e2e.clients.roster import LITELLM_PYTHON
from tests.e2e.fake_upstream import ModelServer
from tests.support import guard
from tests.support.documents import ADDRESS, Block, blocks_of_page, each_block
from tests.support.server import Server

ASKED = ("claude",)
LLM_MODELS = "extra-openai-models.yaml"


def program(block: Block, text: str, folder: Path) -> list[str]:
    """The command that runs it: a file in the folder, with the interpreter that has its libraries."""
    name = {"python": "snippet.py", "javascript": "snippet.mjs", "sh": "snippet.sh"}[block.language]
    (folder / name).write_text(text)
    match block.language:
        case "javascript":
            (folder / "node_modules").symlink_to(clis.BIN.parent)
            return [shutil.which("node", path=guard.REAL_PATH) or "node", name]
        case "sh":
            return ["bash", "-eu", name]
        case _:
            return [str(LITELLM_PYTHON) if "import litellm" in text else sys.executable, name]


def environment(folder: Path, port: int) -> dict[str, str]:
    """A clean environment with the commands that the pages speak of, and llm's models as the page has them."""
    tools = guard.minimal_bin(folder / "tools", clis.TOOLS)
    (tools / "llm").symlink_to(Path(sys.executable).with_name("llm"))
    (tools / "claude").symlink_to(clis.BIN / "claude")
    (models,) = (block for block in blocks_of_page("docs/clients.md") if block.language == "yaml")
    (folder / LLM_MODELS).write_text(models.at(port))
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    return {**guard.clean_environment(folder, str(tools)), **offline, "LLM_USER_PATH": str(folder)}


@each_block()
def test_a_snippet_prints_the_models_answer(
    block: Block, real_server: Server, model_server: ModelServer, tmp_path: Path
) -> None:
    assert ADDRESS in block.text or block.language == "sh"
    done = subprocess.run(
        program(block, block.at(real_server.port), tmp_path),
        env=environment(tmp_path, real_server.port),
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


@each_block()
def test_llm_knows_the_model(block: Block, tmp_path: Path) -> None:
    """That its requests arrive, the command below shows."""
    (name,) = re.findall(r"model_id: (\S+)", block.text)
    done = subprocess.run(
        ["llm", "models", "list"], env=environment(tmp_path, 1), capture_output=True, text=True, check=True, timeout=60
    )
    assert name in done.stdout


def test_the_three_that_everyone_looks_for_are_on_the_first_page() -> None:
    first = [block for block in blocks_of_page("README.md") if block.language in ("python", "javascript")]
    assert [block.language for block in first] == ["python", "python", "javascript"]
    for block, url in zip(first, ("openai/v1", "anthropic/v1", "openai/v1"), strict=True):
        assert f"{ADDRESS}/{url}" in block.text
