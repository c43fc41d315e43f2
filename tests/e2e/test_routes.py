"""Text is text on every route of the native API, with each real CLI."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fake_upstream import ModelServer
from tests.support.server import Server

SECRET = "the-safe-opens-with-9931"
BACKENDS = ("claude", "codex", "gemini")
STREAMED: tuple[dict[str, str], ...] = ({}, {"output_format": "stream-json"})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a file, and a file beside the folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    for path in (folder / "secret.txt", tmp_path / "outside.txt"):
        path.write_text(SECRET)
    return folder


def prompt(project: Path, *, streamed: bool) -> str:
    """A text that would read files, or one that would be a command."""
    return "/help @../outside.txt" if streamed else f"look at @secret.txt, a@secret.txt, @{project.parent}/outside.txt"


def parallel(backend: str, text: str, workdir: str) -> dict[str, Any]:
    return {"tasks": [{"backend": backend, "prompt": text, "workdir": workdir}]}


def chain(backend: str, text: str, workdir: str) -> dict[str, Any]:
    return {"steps": [{"name": "one", "backend": backend, "prompt": text, "workdir": workdir}]}


def compare(backend: str, text: str, workdir: str) -> dict[str, Any]:
    return {"backends": [backend], "prompt": text, "workdir": workdir}


@pytest.mark.parametrize("streamed", STREAMED, ids=["plain", "streamed"])
@pytest.mark.parametrize("body", [parallel, chain, compare])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_prompt_is_text_on_every_route(  # noqa: PLR0917 - what it needs
    backend: str, body: Any, streamed: dict[str, str], real_server: Server, model_server: ModelServer, project: Path
) -> None:
    text = prompt(project, streamed=bool(streamed))
    path = f"/api/v1/{body.__name__}"
    with real_server.client.send("POST", path, body(backend, text, str(project)) | streamed) as exchange:
        answer = b"".join(piece.data for piece in exchange.pieces())
        assert exchange.status == 200, answer
    assert b'"exit_code":0' in answer, answer
    (received,) = model_server.asked()
    assert received.turn is not None
    assert received.turn.prompt.lstrip("\n\u0085") == text
    assert SECRET.encode() not in received.body
