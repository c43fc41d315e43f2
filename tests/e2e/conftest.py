"""Real command lines against a fake model server; every test here is marked ``e2e``."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e import clis
from tests.e2e.fake_upstream import ModelServer
from tests.support import guard
from tests.support.server import Server, ServerFactory, merged


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("e2e")


@pytest.fixture(scope="session")
def real_clis() -> Path:
    """The folder of the real CLIs.  Fails, never skips, when they are not installed."""
    if lacking := clis.missing():
        pytest.fail(f"not installed: {', '.join(lacking)}; run `make -C tests/e2e install`", pytrace=False)
    return clis.BIN


@pytest.fixture(scope="module")
def module_model_server() -> Iterator[ModelServer]:
    """The model server that :func:`real_server` talks to."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def model_server(module_model_server: ModelServer) -> ModelServer:
    """The fake model server, with nothing received yet."""
    module_model_server.clear()
    module_model_server.always = ""
    return module_model_server


@pytest.fixture(scope="module")
def real_server(
    real_clis: Path, module_model_server: ModelServer, servers: ServerFactory, request: pytest.FixtureRequest
) -> Server:
    """A clinvk server, shared by the tests of a module, in front of the real CLIs: all, or those in its ``ASKED``."""
    names: Sequence[str] = getattr(request.module, "ASKED", clis.NAMES)
    server = start_real_server(servers, module_model_server, names=names)
    clis.wait_until_known(server, names)
    return server


@pytest.fixture
def cli_environment(real_clis: Path, model_server: ModelServer, tmp_path: Path) -> dict[str, str]:
    """The whole environment to run a real CLI with, without a server; HOME is prepared."""
    home = tmp_path / "cli-home"
    clis.prepare_home(home, model_server.url)
    clean = guard.clean_environment(home, clis.search_path(tmp_path / "tools"))
    del clean["CLINVK_HOME"]
    return clean | clis.provider_environment(model_server.url) | {"GEMINI_CLI_NO_RELAUNCH": "true"}


def start_real_server(
    servers: ServerFactory,
    model_server: ModelServer,
    config: dict[str, object] | None = None,
    *,
    key: str = "dummy",
    names: Sequence[str] = clis.NAMES,
) -> Server:
    """Start a server whose PATH has the real CLIs and whose CLIs ask the model server, with this provider key.

    Only the CLIs of these names are enabled: a server asks each for its version, which can take as long as a prompt.
    """
    return servers(
        merged({"backends": {name: {"enabled": name in names} for name in clis.NAMES}}, config or {}),
        environment=clis.provider_environment(model_server.url, key),
        path=lambda folder: clis.search_path(folder / "real-tools"),
        prepare=lambda folder: clis.prepare_home(folder / "home", model_server.url),
    )
