"""The home that a run of gemini gets: the user's own login, settings and extensions, and what the options ask for.

gemini keeps each conversation below its home and has no flag against it, and it takes most options only from its
settings.  (Its system settings would do for those, but only where they are root's in a folder that is root's.)
"""

from typing import Any

import orjson

from services.backends.base import Options, PrivateHome
from services.backends.gemini.history import FOLDER, kept_file, record_file, registry
from services.backends.gemini.past import is_brought, record
from services.backends.gemini.sampling import A_TOOL, overrides
from services.settings import SandboxMode

HOME = ".gemini"
STATE = ("history", "projects.json", "tmp", FOLDER.rpartition("/")[2])
"""What gemini keeps of each run below ``~/.gemini``, and we of each conversation."""

AGENTS = ("GEMINI.md", "agents", "commands", "extensions", "policies", "skills")
"""What of the user's is there for an agent, and not for a model."""

LOGIN = '{"security":{"auth":{"selectedType":"gemini-api-key"}}}'
"""The login when none is set: a session that is loaded, unlike a new one, does without a default."""

APPENDED = "appended/system prompt.md"
"""A name that no ``@import`` can spell, since there is a space in it, in a folder with nothing else to import."""

WITHHELD: dict[SandboxMode, list[str]] = {
    "read-only": ["replace", "run_shell_command", "write_file"],
    "workspace": ["run_shell_command"],
}
"""gemini's file tools stay within the folder by themselves."""

AS_MODEL: dict[str, Any] = {
    "agents": None,
    "context": {
        "fileName": None,
        "includeDirectories": None,
        "includeDirectoryTree": False,
        "memoryBoundaryMarkers": [],
    },
    "contextManagement": None,
    "experimental": None,
    "hooks": None,
    "hooksConfig": {"enabled": False},
    "ide": None,
    "mcp": None,
    "mcpServers": None,
    "model": {"compressionThreshold": 1000, "disableLoopDetection": True},
    "policyPaths": None,
    "skills": {"enabled": False},
}
"""What makes gemini a model: nothing of the user's for agents, no folder but its own (without markers it looks for
memory files in no other), and nothing that changes the conversation on its way: a summary in place of old messages (at
so many times what the model takes), a warning to a model that repeats itself."""


def private_home(options: Options) -> PrivateHome:
    """The home for these options."""
    return PrivateHome(
        variable="GEMINI_CLI_HOME",
        folder=HOME,
        beside=(".env",) if options.as_model else (".agents", ".env"),
        private=(*STATE, *AGENTS) if options.as_model else STATE,
        settings="settings.json",
        changes=orjson.dumps(settings(options)).decode(),
        files=tuple(files(options)),
        defaults=LOGIN if options.resume or is_brought(options) else "{}",
        kept=kept_file(options),
    )


def files(options: Options) -> list[tuple[str, str]]:
    """What is written into gemini's folder."""
    written: list[tuple[str, str]] = []
    if options.append_system_prompt and not options.as_model:
        # The marker ends the search for a project, from which files could be imported.
        written += [(APPENDED, options.append_system_prompt), ("appended/.git", "")]
    if projects := registry(options):
        written.append(("projects.json", projects))
    if is_brought(options):
        written.append((record_file(options).removeprefix(f"{HOME}/"), record(options)))
    return written


def settings(options: Options) -> dict[str, Any]:
    """What is to differ from the user's settings (a merge patch: None removes)."""
    changes: dict[str, Any] = {
        **(AS_MODEL if options.as_model else {}),
        "general": {"enableAutoUpdate": False, "maxAttempts": 1 + options.max_retries},
        "tools": tools(options),
    }
    if options.max_turns:
        changes["model"] = {**changes.get("model", {}), "maxSessionTurns": options.max_turns}
    if models := overrides(options):
        changes["modelConfigs"] = {"customOverrides": models}
    if options.append_system_prompt and not options.as_model:
        # In the "tree" format an import that fails is written into the text.
        changes["context"] = {"fileName": ["GEMINI.md", APPENDED], "importFormat": "flat"}
    return changes


def tools(options: Options) -> dict[str, Any]:
    """Which tools there are."""
    chosen: dict[str, Any] = {"shell": {"enableInteractiveShell": False}}  # else the output of commands is not told
    if options.allowed_tools == ():
        return {**chosen, "core": [A_TOOL], "exclude": None, "discoveryCommand": None}
    if options.allowed_tools is not None:
        chosen["core"] = list(options.allowed_tools)
    if options.sandbox_mode in WITHHELD:
        chosen["exclude"] = WITHHELD[options.sandbox_mode]
    return chosen
