"""What the program as codex finds in its home, and what is left of it when a thread is told otherwise."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TOOLS = {"shell_tool": "exec_command", "view_image": "view_image", "goals": "create_goal"}
"""The tools that the model is told of, by the features that bring them."""


class ConfigError(Exception):
    """codex would not open a thread with such settings."""


def home() -> str:
    return os.environ.get("CODEX_HOME") or os.path.join(os.environ["HOME"], ".codex")


def user_config() -> dict[str, Any]:
    """The settings in its home."""
    path = os.path.join(home(), "config.toml")
    if not os.path.exists(path):
        return {}
    import tomllib  # slow to load, and seldom needed

    with open(path, "rb") as handle:
        return tomllib.load(handle)


def memory() -> str:
    """The user's instructions; no setting keeps codex from reading them."""
    path = os.path.join(home(), "AGENTS.md")
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as handle:
        return handle.read()


def tools(config: dict[str, Any]) -> list[str]:
    """The names of the tools that a thread with these settings has.  Raises ConfigError."""
    features = config.get("features", {})
    own, chosen = user_config().get("mcp_servers", {}), config.get("mcp_servers", {})
    for name in chosen:
        if name not in own:
            raise ConfigError(f"failed to load configuration: invalid transport\nin `mcp_servers.{name}`\n")
    servers = [name for name in own if {**own[name], **chosen.get(name, {})}.get("enabled", True)]
    return [tool for name, tool in TOOLS.items() if features.get(name, True)] + [f"mcp__{name}" for name in servers]
