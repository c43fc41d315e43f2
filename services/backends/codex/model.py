"""What makes a model of codex: it has no tools, and tells the model nothing but the client's texts.

The switches are settings, laid over the user's own when the thread is opened.  Of the features, those are named that
give the model a tool or a text, be they on by default or by the user's configuration (codex 0.169.0).
"""

from collections.abc import Mapping
from typing import Any

from services.backends.base import PrivateHome
from services.backends.lenient import mapping

FEATURES = (
    "apps",
    "code_mode",
    "code_mode_only",
    "current_time_reminder",
    "deferred_executor",
    "executor_capability_discovery_v2",
    "goals",
    "hooks",
    "memories",
    "multi_agent_v2",
    "request_permissions_tool",
    "send_message_to_user_async",
    "shell_tool",
    "sleep_tool",
    "token_budget",
    "view_image",
)

BOUNDLESS_TOKENS = 10**12
"""codex then lets a model have the largest context window that it can have.  What codex holds to be longer it would sum
up, and ask the model with that in place of the conversation, which is a failure here."""

SETTINGS: Mapping[str, Any] = {
    "agents": {"enabled": False},
    "features": dict.fromkeys(FEATURES, False),
    "include_apps_instructions": False,
    "include_collaboration_mode_instructions": False,
    "include_environment_context": False,
    "include_permissions_instructions": False,
    "model_auto_compact_token_limit": BOUNDLESS_TOKENS,
    "model_context_window": BOUNDLESS_TOKENS,
    "notify": [],
    "project_doc_max_bytes": 0,
    "skills": {"include_instructions": False},
    "tools": {"experimental_request_user_input": {"enabled": False}, "update_plan": {"enabled": False}},
    "web_search": "disabled",
}

NO_ENVIRONMENTS: tuple[str, ...] = ()
"""Where the tools may act that codex cannot be told to leave away, because it has them from its catalogue of models:
nowhere, whatever the sandbox."""

HOME = PrivateHome(
    variable="CODEX_HOME",
    folder="",
    beside=(),
    private=("AGENTS.md", "AGENTS.override.md"),
    settings="",
    changes="{}",
    usual=".codex",
    only_to_hide=True,
)
"""codex has no switch against the user's own instructions, so it gets a home without them."""


def model_settings(users_own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model; the user's MCP servers can only be switched off one by one."""
    servers = mapping(users_own.get("mcp_servers"))
    return {**SETTINGS, "mcp_servers": {name: {"enabled": False} for name in servers}}
