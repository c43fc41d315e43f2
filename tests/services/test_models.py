import pytest

from services.backends import create_backends
from services.models import ModelChoice, Models
from services.settings import BackendSettings, CustomCommand

SETTINGS = {
    "claude": BackendSettings(model="claude-sonnet-5", models=("claude-opus-5", "claude-sonnet-5")),
    "codex": BackendSettings(),
    "gemini": BackendSettings(enabled=False, model="gemini-3-pro"),
    "local": BackendSettings(models=("vendor/small",), custom=CustomCommand(command=("local",))),
}


@pytest.fixture
def models() -> Models:
    return Models(create_backends(SETTINGS), SETTINGS, "codex")


@pytest.mark.parametrize(
    ("name", "backend", "model"),
    [
        ("claude", "claude", ""),
        ("local", "local", ""),
        ("claude/claude-opus-5", "claude", "claude-opus-5"),
        ("local/vendor/small", "local", "vendor/small"),
        ("codex/claude-opus-5", "codex", "claude-opus-5"),
        ("claude-opus-5", "claude", "claude-opus-5"),
        ("Claude-Opus-5", "claude", "Claude-Opus-5"),
        ("my-claude-gpt", "claude", "my-claude-gpt"),
        ("gemini-3-pro", "gemini", "gemini-3-pro"),
        ("gpt-5.6", "codex", "gpt-5.6"),
        ("gpt-5.6-codex", "codex", "gpt-5.6-codex"),
        ("o1", "codex", "o1"),
        ("o3-mini", "codex", "o3-mini"),
        ("o4-mini-2025", "codex", "o4-mini-2025"),
        ("foo3", "codex", ""),
        ("mistral", "codex", ""),
        ("foo/bar", "codex", ""),
        ("foo/claude", "codex", ""),
        ("claude/", "codex", ""),
        ("CLAUDE/x", "codex", ""),
    ],
)
def test_who_answers_to_a_name(models: Models, name: str, backend: str, model: str) -> None:
    assert models.choose(name) == ModelChoice(backend, model)


def test_a_dialect_may_have_a_default_of_its_own(models: Models) -> None:
    assert models.choose("whatever", "claude") == ModelChoice("claude")
    assert models.choose("gpt-5", "claude") == ModelChoice("codex", "gpt-5")


def test_a_family_without_its_backend_goes_to_the_default() -> None:
    only = {"local": SETTINGS["local"]}
    models = Models({"local": create_backends(SETTINGS)["local"]}, only, "local")
    assert models.choose("claude-opus-5") == ModelChoice("local")


def test_what_there_is(models: Models) -> None:
    found = [(entry.id, entry.owner, entry.backend) for entry in models.entries()]
    assert found == [
        ("claude", "anthropic", "claude"),
        ("claude/claude-sonnet-5", "anthropic", "claude"),
        ("claude/claude-opus-5", "anthropic", "claude"),
        ("codex", "openai", "codex"),
        ("local", "local", "local"),
        ("local/vendor/small", "local", "local"),
    ]


def test_one_of_them(models: Models) -> None:
    entry = models.entry("local/vendor/small")
    assert entry is not None
    assert entry.backend == "local"
    assert models.entry("gemini") is None
    assert models.entry("claude/nosuch") is None
