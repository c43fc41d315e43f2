"""The server that the clients speak to, in front of the real CLIs or of fakes, and the clients that were started."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e import clis
from tests.e2e.clients.roster import Entry
from tests.e2e.clients.talking import Client
from tests.e2e.fake_upstream import ModelServer
from tests.fake_cli.install import FakeClis
from tests.support.server import Server, ServerFactory

KEY = "key-of-the-clients"
OPTIONS = {"model": ["--model", "{value}"], "system_prompt": ["--system={value}"]}
CONFIG = {"backends": {"custom": {"command": ["custom"], "option_args": OPTIONS}}}


@dataclass(slots=True)
class Field:
    """A running server and the clients that have been asked something; no model server behind fake CLIs."""

    server: Server
    fakes: FakeClis
    model_server: ModelServer | None
    _new_folder: Callable[[str], Path]
    _clients: dict[str, Client] = field(default_factory=dict)

    def fake_runs(self) -> int:
        """How often a fake CLI was asked something."""
        return len(self.fakes.entries("prompt"))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def client(self, entry: Entry) -> Client:
        """The client of this row, started when it is first asked for."""
        if entry.name not in self._clients:
            self._clients[entry.name] = entry.start(self.address, self._new_folder("client"))
        return self._clients[entry.name]

    def drop(self, entry: Entry) -> None:
        """End a client that may be in the middle of something; the next one starts anew."""
        if client := self._clients.pop(entry.name, None):
            client.close()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@contextmanager
def playing(new_folder: Callable[[str], Path], *, real: bool = True) -> Iterator[Field]:
    """A field with everything running; an AssertionError at the end when the server leaves something behind."""
    with ExitStack() as stack:
        model_server = stack.enter_context(ModelServer()) if real else None
        servers = stack.enter_context(ServerFactory(new_folder))
        server = start_real(servers, model_server) if model_server else start_fake(servers)
        found = Field(server, FakeClis(server.folder / "clis"), model_server, new_folder)
        stack.callback(found.close)
        yield found


def start_real(servers: ServerFactory, model_server: ModelServer) -> Server:
    """A server with the real CLIs and ``custom``, a fake one by configuration; idle, and it asks for a key."""

    def path(folder: Path) -> str:
        custom = FakeClis(folder / "clis").install("custom", dialect="plain")
        (folder / "custom").mkdir()
        (folder / "custom" / custom.name).symlink_to(custom)
        return f"{clis.search_path(folder / 'real-tools')}:{folder / 'custom'}"

    server = servers(
        CONFIG,
        environment={**clis.provider_environment(model_server.url), "CLINVK_API_KEYS": KEY},
        path=path,
        prepare=lambda folder: clis.prepare_home(folder / "home", model_server.url),
        headers={"X-Api-Key": KEY},
    )
    clis.wait_until_known(server)
    return server


def start_fake(servers: ServerFactory) -> Server:
    """The same with fakes of all of them."""

    def prepare(folder: Path) -> None:
        FakeClis(folder / "clis").install("custom", dialect="plain")

    return servers(CONFIG, environment={"CLINVK_API_KEYS": KEY}, prepare=prepare, headers={"X-Api-Key": KEY})
