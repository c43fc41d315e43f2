"""Every test runs in a box: a home folder of its own, no keys, no real CLI, no network."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fake_cli.install import FakeClis
from tests.support import guard
from tests.support.server import Entry, Server, ServerFactory

settings.register_profile("clinvk", deadline=None, database=None, print_blob=True, max_examples=40)
settings.register_profile("thorough", settings.get_profile("clinvk"), max_examples=1000)
settings.load_profile("clinvk")


def pytest_configure(config: pytest.Config) -> None:
    """Close the box before anything is collected."""
    guard.allow_programs_in(guard.ROOT / "tests" / "e2e" / "node_modules")
    guard.install()


def pytest_collection() -> None:
    """Thousands of tests come into being: there is nothing to collect among them, then or later."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look from now on only at what the tests themselves make."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _box(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What fixtures of a wider scope than one test get."""
    guard.allow_programs_in(tmp_path_factory.getbasetemp())
    home = tmp_path_factory.mktemp("home")
    tools = guard.minimal_bin(tmp_path_factory.mktemp("tools"))
    guard.replace_environment(guard.clean_environment(home, str(tools)))


@pytest.fixture(autouse=True)
def home(_box: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of this test; ``~/.clinvk`` in it is CLINVK_HOME."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("CLINVK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("CLINVK_HOME", str(folder / ".clinvk"))
    return folder


@pytest.fixture
def fake_clis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClis:
    """The fake ``claude``, ``codex`` and ``gemini``, first in PATH."""
    clis = FakeClis(tmp_path / "clis")
    for name in ("claude", "codex", "gemini"):
        clis.install(name)
    monkeypatch.setenv("PATH", str(clis.bin), prepend=os.pathsep)
    return clis


def usual_entry(request: pytest.FixtureRequest) -> Entry:
    """End to end, a server starts as people start it; elsewhere it need not import everything each time."""
    return "clinvk" if guard.ROOT / "tests" / "e2e" in request.path.parents else "serve"


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFactory]:
    """Starts servers that live as long as the module; see :class:`tests.support.server.ServerFactory`."""
    with ServerFactory(tmp_path_factory.mktemp, usual_entry(request)) as factory:
        yield factory


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    """A real server with the fake CLIs, shared by the tests of a module."""
    return servers()


@pytest.fixture
def start_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFactory]:
    """Starts servers that live as long as one test: ``start_server({"server": {...}})``."""
    with ServerFactory(tmp_path_factory.mktemp, usual_entry(request)) as factory:
        yield factory
