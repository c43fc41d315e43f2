"""The CLIs clinvk can speak to: pure state machines, a module or a package each."""

from collections.abc import Mapping

from services.backends.base import Backend
from services.backends.claude import ClaudeBackend
from services.backends.codex import CodexBackend
from services.backends.custom import CustomBackend
from services.backends.demo import DemoBackend
from services.backends.gemini import GeminiBackend
from services.settings import BackendSettings

BUILT_IN: Mapping[str, type[Backend]] = {
    "claude": ClaudeBackend,
    "codex": CodexBackend,
    "gemini": GeminiBackend,
    "demo": DemoBackend,
}


def create_backends(settings: Mapping[str, BackendSettings]) -> dict[str, Backend]:
    """The backends of a configuration, in its order: those built in, and those that it defines by a command."""
    return {name: _create(name, its) for name, its in settings.items()}


def _create(name: str, settings: BackendSettings) -> Backend:
    if settings.custom is not None:
        return CustomBackend(name, settings.custom)
    return BUILT_IN[name]()
