"""The real command lines: where they are, and how they are pointed at the fake model server.

Each gets a clean environment and a throw-away home; nothing in it is the user's own.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.support import guard
from tests.support.server import Server
from tests.support.waiting import wait_until

BIN = Path(__file__).parent / "node_modules" / ".bin"
NAMES = ("claude", "codex", "gemini")
TOOLS = ("node", "rg", "timeout", "mkdir", "rm", "touch", "find", "grep", "sed", "tee", "seq", "python3")
MODELS = {"claude": "claude-sonnet-4-5", "codex": "fake-model", "gemini": "gemini-2.5-flash"}
"""A model of each that needs no further calls to the provider."""

START_S = 90.0
"""So long the slowest of them may take to start on a machine that has much else to do."""

CODEX_CONFIG = """
model = "{model}"
model_provider = "fake"
check_for_update_on_startup = false

[model_providers.fake]
name = "fake"
base_url = "{url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
supports_websockets = false

[analytics]
enabled = false

[features]
plugins = false
"""

GEMINI_SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"enableAutoUpdate": False},
}


def missing() -> list[str]:
    """The command lines that are not installed."""
    return [name for name in NAMES if not (BIN / name).exists()]


def prepare_home(home: Path, url: str) -> None:
    """Write the configuration files that send the CLIs to the model server."""
    (home / ".codex").mkdir(parents=True, exist_ok=True)
    (home / ".codex" / "config.toml").write_text(CODEX_CONFIG.format(url=url, model=MODELS["codex"]))
    (home / ".gemini").mkdir(exist_ok=True)
    (home / ".gemini" / "settings.json").write_text(json.dumps(GEMINI_SETTINGS))


def provider_environment(url: str, key: str = "dummy") -> dict[str, str]:
    """The variables that send the CLIs to the model server."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "OPENAI_API_KEY": key,
        "GEMINI_API_KEY": key,
        "GOOGLE_GEMINI_BASE_URL": url,
    }


def search_path(tools: Path) -> str:
    """A PATH with the real CLIs and the few tools that they and their shells need; ``tools`` is filled."""
    return f"{BIN}:{guard.minimal_bin(tools, TOOLS)}"


def wait_until_known(server: Server, names: Sequence[str] = NAMES) -> None:
    """Wait until the server has asked these for their versions, which it does in its own time, and is idle."""

    def versions() -> list[str]:
        backends = {entry["name"]: entry for entry in server.client.get("/api/v1/backends").json()["backends"]}
        return [backends[name]["version"] for name in names]

    wait_until(lambda: all(versions()), START_S, f"the versions of the CLIs\n{server.log}", every_s=0.1)
    server.wait_until_idle(START_S)
