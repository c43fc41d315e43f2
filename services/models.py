"""Names of models: which backend answers to which, and what clients are told that there is.  Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.backends.base import Backend
from services.settings import BackendSettings

FAMILIES = (
    ("claude", re.compile("claude")),
    ("gemini", re.compile("gemini")),
    ("codex", re.compile(r"gpt|codex|(^|[^a-z0-9])o[1-9]([^a-z0-9]|$)")),
)
"""Whose a model is, by its name; the first that matches decides."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Who is to answer; an empty model is the backend's default."""

    backend: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that clients are told of: ``backend``, or ``backend/model``."""

    id: str
    owner: str
    backend: str


class Models:
    """The models of a configuration."""

    def __init__(
        self, backends: Mapping[str, Backend], settings: Mapping[str, BackendSettings], default_backend: str
    ) -> None:
        self._backends = backends
        self._settings = settings
        self._default_backend = default_backend

    def choose(self, name: str, default_backend: str = "") -> ModelChoice:
        """Who answers to a name; ``default_backend`` answers to one that says nothing to us.

        A backend's name is no model: it stands for the backend's default.
        """
        if name in self._backends:
            return ModelChoice(name)
        backend, _, model = name.partition("/")
        if model and backend in self._backends:
            return ModelChoice(backend, model)
        if "/" not in name:
            lowered = name.lower()
            for family, pattern in FAMILIES:
                if family in self._backends and pattern.search(lowered):
                    return ModelChoice(family, name)
        return ModelChoice(default_backend or self._default_backend)

    def entries(self) -> tuple[ModelEntry, ...]:
        """All models: of each backend that is enabled, itself and what is configured of it."""
        return tuple(self._entries())

    def entry(self, ident: str) -> ModelEntry | None:
        """One of them."""
        return next((entry for entry in self._entries() if entry.id == ident), None)

    def _entries(self) -> Iterator[ModelEntry]:
        for name, backend in self._backends.items():
            settings = self._settings[name]
            if not settings.enabled:
                continue
            yield ModelEntry(name, backend.owner, name)
            for model in dict.fromkeys(filter(None, (settings.model, *settings.models))):
                yield ModelEntry(f"{name}/{model}", backend.owner, name)
