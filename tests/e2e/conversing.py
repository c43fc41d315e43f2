"""Talk with the real CLIs through a real server, and read what their models were asked."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.container import Container, create_container
from services.settings import BackendSettings, Config, ServerSettings
from tests.e2e import clis
from tests.e2e.fake_upstream import ModelServer, Received
from tests.support import guard
from tests.support.client import Exchange
from tests.support.files import below
from tests.support.server import Server


@dataclass(frozen=True, slots=True)
class Cli:
    """One of them.  ``prompts`` reads a user's texts out of what its model was asked, without what the CLI adds;

    ``fields`` go with every prompt, but for those that continue a session, which remembers them.
    """

    backend: str
    prompts: Callable[[Received], list[str]]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def ask(self, server: Server, prompt: str, **fields: Any) -> Mapping[str, Any]:
        """The answer to a prompt that was let run."""
        response = server.client.prompt(prompt, self.backend, **{**self.fields, **fields})
        assert response.status == 200, response.text
        answer: Mapping[str, Any] = response.json()
        return answer

    def stream(self, server: Server, prompt: str, **fields: Any) -> Exchange:
        """A prompt whose answer is streamed; the caller closes it."""
        return server.client.stream(prompt, self.backend, **{**self.fields, **fields})

    def events(self, server: Server, prompt: str, **fields: Any) -> list[Mapping[str, Any]]:
        """All events of a streamed answer."""
        with self.stream(server, prompt, **fields) as exchange:
            return list(exchange.events())

    def begun(self, server: Server, prompt: str, **fields: Any) -> str:
        """A session with one good turn."""
        answer = self.ask(server, prompt, **fields)
        assert answer["exit_code"] == 0, answer
        session_id: str = answer["session_id"]
        return session_id

    def continued(self, server: Server, session_id: str, prompt: str, **fields: Any) -> Mapping[str, Any]:
        """The answer of a further good turn."""
        response = server.client.prompt(prompt, self.backend, session_id=session_id, **fields)
        answer: Mapping[str, Any] = response.json()
        assert answer["exit_code"] == 0, answer
        assert answer["session_id"] == session_id
        return answer

    def prompts_seen(self, model_server: ModelServer) -> list[str]:
        """The prompts of the conversation that the model was asked last."""
        return self.prompts(model_server.asked()[-1])


@contextmanager
def services_alone(backend: str, home: Path, model_server: ModelServer, tools: Path) -> Iterator[Container]:
    """The services of a server, without the server, in front of this CLI alone; ``tools`` is an empty folder."""
    environment = {
        **guard.clean_environment(home, clis.search_path(tools)),
        **clis.provider_environment(model_server.url),
    }
    backends = {name: BackendSettings(enabled=name == backend) for name in clis.NAMES}
    server = ServerSettings(max_concurrent_runs=4, warm_processes=0, blocked_workdir_prefixes=())
    container = create_container(Config(home / ".clinvk", backends=backends, server=server), "test", environment)
    try:
        yield container
    finally:
        container.close()


def forked(server: Server, session_id: str) -> str:
    """A copy of a session."""
    response = server.client.post(f"/api/v1/sessions/{session_id}/fork", {})
    assert response.status == 201, response.text
    copy: str = response.json()["id"]
    assert copy != session_id
    return copy


def deleted(server: Server, session_id: str) -> bool:
    """Delete a session; whether the CLI's own copy is gone as well."""
    response = server.client.request("DELETE", f"/api/v1/sessions/{session_id}")
    assert response.status == 200, response.text
    gone: bool = response.json()["cli_deleted"]
    return gone


def session_of(server: Server, session_id: str) -> Mapping[str, Any]:
    """A session as the server tells of it."""
    session: Mapping[str, Any] = server.client.get(f"/api/v1/sessions/{session_id}").json()
    return session


def files_at_home(server: Server) -> set[Path]:
    """What is in the home folder of the CLIs, but for what is the server's own."""
    entries = [entry for entry in server.home.iterdir() if entry.name != ".clinvk"]
    return {path for entry in entries for path in (entry, *below(entry))}


def files_with(folder: Path, text: str) -> list[Path]:
    """The files below a folder that hold a text.  What is being removed meanwhile holds nothing."""
    found = []
    for path in below(folder):
        with suppress(FileNotFoundError):
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
    return found


def only(events: list[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """The contents of the events of one type."""
    return [event["content"] for event in events if event["type"] == kind]


# ---------------------------------------------------------------------- what a model was asked


def claude_texts(received: Received, role: str = "user") -> list[str]:
    """The texts of a request's messages, as they are."""
    contents = [message["content"] for message in received.json()["messages"] if message["role"] == role]
    parts = [part for content in contents for part in ([content] if isinstance(content, str) else content)]
    return [part if isinstance(part, str) else part.get("text", "") for part in parts]


def codex_texts(received: Received, role: str = "user") -> list[str]:
    """The texts of a request's messages, as they are."""
    messages = [item for item in received.json()["input"] if item.get("role") == role]
    return [part["text"] for message in messages for part in message["content"] if "text" in part]


def gemini_turns(received: Received) -> list[tuple[str, Any]]:
    """Who said what, without gemini's own first text; a call of a tool or its answer by its name alone."""
    turns = []
    for message in received.json()["contents"]:
        for part in message["parts"]:
            (kind,) = part.keys() & {"text", "functionCall", "functionResponse"}
            if not str(part[kind]).startswith("<session_context>\nThis is the Gemini CLI."):
                turns.append((message["role"], part[kind] if kind == "text" else kind))
    return turns


def _claude_prompts(received: Received) -> list[str]:
    return [text for text in claude_texts(received) if text and not text.startswith("<system-reminder>")]


def _codex_prompts(received: Received) -> list[str]:
    return [text for text in codex_texts(received) if not text.startswith("<environment_context>")]


def _gemini_prompts(received: Received) -> list[str]:
    return [said for role, said in gemini_turns(received) if role == "user" and said != "functionResponse"]


CLAUDE = Cli("claude", _claude_prompts, {"model": clis.MODELS["claude"]})
CODEX = Cli("codex", _codex_prompts)
GEMINI = Cli("gemini", _gemini_prompts, {"model": clis.MODELS["gemini"]})
