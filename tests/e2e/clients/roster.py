"""The clients of the table, and the backends they speak to."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from tests.e2e import clis
from tests.e2e.clients.commands import ClaudeCode, Llm
from tests.e2e.clients.programs.serving import SERVER_VARIABLE
from tests.e2e.clients.talking import Client, Program
from tests.support import guard
from tests.support.guard import ROOT

Dialect: TypeAlias = Literal["openai", "anthropic"]
HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
LITELLM_PYTHON = HERE.parent / "litellm" / ".venv" / "bin" / "python"

SDK_ERRORS: Mapping[int, str] = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    429: "RateLimitError",
    502: "InternalServerError",
    503: "InternalServerError",
    529: "InternalServerError",
}
"""The classes of the official libraries, in Python and in JavaScript; LangChain's derive from them."""
LITELLM_ERRORS = {**SDK_ERRORS, 502: "BadGatewayError", 503: "ServiceUnavailableError"}
AI_SDK_ERRORS = dict.fromkeys(SDK_ERRORS, "AI_APICallError")


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend of the server under test: the model to ask for, and a failure that it can be brought to.

    ``failure`` are words for the prompt, ``statuses`` what the client is answered then, by dialect, and ``reason`` is
    in the message.  ``is_real`` says whether the model server is asked, and not a fake command line.
    """

    name: str
    model: str
    failure: str
    statuses: Mapping[Dialect, int] = field(hash=False)
    reason: str
    is_real: bool = True


def same(status: int) -> Mapping[Dialect, int]:
    return {"openai": status, "anthropic": status}


BACKENDS = (
    Backend("claude", f"claude/{clis.MODELS['claude']}", "FAKE:429", same(429), "limit"),
    Backend("codex", f"codex/{clis.MODELS['codex']}", "FAKE:401", same(502), "logged in"),
    Backend("gemini", f"gemini/{clis.MODELS['gemini']}", "FAKE:404", same(404), "model"),
    Backend("custom", "custom", "FAKE:529", {"openai": 503, "anthropic": 529}, "529", is_real=False),
)
TWO, ONE = BACKENDS[:2], BACKENDS[:1]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row: a client, the dialect it speaks, and what it raises by status (nothing where a command only prints).

    ``start`` gets the server's address and a folder; ``statuses`` are those that it shows in place of ours.  The
    official libraries are tried with all backends, those that send the same requests with two, and the variants of a
    library with one: what a backend makes of a request does not depend on who sent it.
    """

    name: str
    dialect: Dialect
    start: Callable[[str, Path], Client]
    errors: Mapping[int, str] = field(default_factory=lambda: SDK_ERRORS, hash=False)
    statuses: Mapping[int, int] = field(default_factory=dict, hash=False)
    tells_usage: bool = True
    tells_request_id: bool = False
    backends: tuple[Backend, ...] = BACKENDS


def start_environment(folder: Path) -> dict[str, str]:
    """A clean environment with a home folder of its own."""
    home = folder / "home"
    home.mkdir()
    return guard.clean_environment(home, str(guard.minimal_bin(folder / "tools", clis.TOOLS)))


def python(module: str, *arguments: str, interpreter: str = sys.executable) -> Callable[[str, Path], Client]:
    """Start a program of ours in Python."""
    command = [interpreter, "-m", f"tests.e2e.clients.programs.{module}", *arguments]
    return lambda server, folder: start_program(command, server, folder)


def litellm(dialect: Dialect) -> Callable[[str, Path], Client]:
    """Start the one for LiteLLM in its virtual environment."""
    return python("litellm_client", dialect, interpreter=str(LITELLM_PYTHON))


def javascript(name: str, *arguments: str) -> Callable[[str, Path], Client]:
    """Start a program of ours in JavaScript."""
    node = shutil.which("node", path=guard.REAL_PATH) or "node"
    command = [node, str(PROGRAMS / f"{name}.mjs"), *arguments]
    return lambda server, folder: start_program(command, server, folder)


def start_program(command: Sequence[str], server: str, folder: Path) -> Client:
    environment = start_environment(folder)
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": str(ROOT), SERVER_VARIABLE: server}
    return Program(command, environment | offline, folder)


def start_llm(server: str, folder: Path) -> Client:
    return Llm(server, start_environment(folder), folder, [backend.model for backend in BACKENDS])


def start_claude_code(server: str, folder: Path) -> Client:
    return ClaudeCode(server, start_environment(folder), folder, ())


ENTRIES = (
    Entry("openai (Python)", "openai", python("openai_python", "sync"), tells_request_id=True),
    Entry("openai (Python), async", "openai", python("openai_python", "async"), tells_request_id=True, backends=ONE),
    Entry("openai (Python), .stream()", "openai", python("openai_python", "helper"), backends=ONE),
    Entry("openai (JavaScript)", "openai", javascript("openai_javascript"), tells_request_id=True),
    Entry("anthropic (Python)", "anthropic", python("anthropic_python", "sync"), tells_request_id=True),
    Entry(
        "anthropic (Python), async",
        "anthropic",
        python("anthropic_python", "async"),
        tells_request_id=True,
        backends=ONE,
    ),
    Entry(
        "anthropic (Python), .stream()",
        "anthropic",
        python("anthropic_python", "helper"),
        tells_request_id=True,
        backends=ONE,
    ),
    Entry("@anthropic-ai/sdk (JavaScript)", "anthropic", javascript("anthropic_javascript"), tells_request_id=True),
    Entry("LangChain, langchain-openai", "openai", python("langchain", "openai"), backends=TWO),
    Entry("LangChain, langchain-anthropic", "anthropic", python("langchain", "anthropic"), backends=TWO),
    Entry("LiteLLM, openai/…", "openai", litellm("openai"), LITELLM_ERRORS, backends=TWO),
    Entry("LiteLLM, anthropic/…", "anthropic", litellm("anthropic"), LITELLM_ERRORS, statuses={529: 500}, backends=TWO),
    Entry(
        "Vercel AI SDK, @ai-sdk/openai-compatible",
        "openai",
        javascript("ai_sdk", "openai"),
        AI_SDK_ERRORS,
        backends=TWO,
    ),
    Entry(
        "Vercel AI SDK, @ai-sdk/anthropic", "anthropic", javascript("ai_sdk", "anthropic"), AI_SDK_ERRORS, backends=TWO
    ),
    Entry("llm", "openai", start_llm, {}, tells_usage=False, backends=TWO),
    Entry("Claude Code", "anthropic", start_claude_code, {}, backends=TWO),
)
