"""Every client gets the answer, its pieces, its errors and its end, whatever the backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients.cells import CELLS, Cell, fill
from tests.e2e.clients.commands import ClaudeCode
from tests.e2e.clients.field import KEY, Field, playing
from tests.e2e.clients.programs.serving import Question
from tests.e2e.clients.roster import LITELLM_PYTHON, start_environment


@pytest.fixture(scope="module")
def field(real_clis: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """A server with the real CLIs, and the clients, shared by the tests of this module."""
    if not LITELLM_PYTHON.exists():
        pytest.fail("LiteLLM is not installed; run `make -C tests/e2e install`", pytrace=False)
    with playing(tmp_path_factory.mktemp) as found:
        yield found


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_client_gets_what_it_would_get_from_the_provider(cell: Cell, field: Field) -> None:
    assert fill(cell, field)


def test_claude_code_tells_its_user_that_its_tools_are_not_supported(field: Field, tmp_path: Path) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    claude_code = ClaudeCode(field.address, start_environment(folder), folder, ())
    claude_code.tools = "default"
    assert field.model_server is not None
    asked = len(field.model_server.turns())
    reply = claude_code.ask(Question("stream", KEY, "claude", "Be brief.", "hello"))

    assert reply.error is not None
    assert reply.error.status == 400
    assert "tools" in reply.error.message
    assert len(field.model_server.turns()) == asked
