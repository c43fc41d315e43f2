"""The home that a run of gemini gets: the user's own login, settings and extensions, and what the options ask for.

gemini keeps each conversation below its home and has no flag against it, and it takes most options only from its
settings.  (Its system settings would do for those, but only where they are root's in a folder that is root's.)
"""

from typing import Any

import orjson

from services.backends.base import Options, PrivateHome
from services.backends.gemini.history import FOLDER, kept_file, registry
from services.settings import SandboxMode

STATE = ("history", "projects.json", "tmp", FOLDER.rpartition("/")[2])
"""What gemini keeps of each run below ``~/.gemini``, and we of each conversation."""

LOGIN = '{"security":{"auth":{"selectedType":"gemini-api-key"}}}'
"""The login when none is set: a session that is loaded, unlike a new one, does without a default."""

APPENDED = "appended/system prompt.md"
"""A name that no ``@import`` can spell, since there is a space in it, in a folder with nothing else to import."""

WITHHELD: dict[SandboxMode, list[str]] = {
    "read-only": ["replace", "run_shell_command", "write_file"],
    "workspace": ["run_shell_command"],
}
"""gemini's file tools stay within the folder by themselves."""


def private_home(options: Options) -> PrivateHome:
    """The home for these options."""
    files: list[tuple[str, str]] = []
    if options.append_system_prompt:
        # The marker ends the search for a project, from which files could be imported.
        files += [(APPENDED, options.append_system_prompt), ("appended/.git", "")]
    if options.keep_session:
        files.append(("projects.json", registry(options)))
    return PrivateHome(
        variable="GEMINI_CLI_HOME",
        folder=".gemini",
        beside=(".agents", ".env"),
        private=STATE,
        settings="settings.json",
        changes=orjson.dumps(settings(options)).decode(),
        files=tuple(files),
        defaults=LOGIN if options.resume else "{}",
        kept=kept_file(options),
    )


def settings(options: Options) -> dict[str, Any]:
    """What is to differ from the user's settings."""
    tools: dict[str, Any] = {"shell": {"enableInteractiveShell": False}}  # else the output of commands is not told
    if options.allowed_tools is not None:
        tools["core"] = list(options.allowed_tools)
    if options.sandbox_mode in WITHHELD:
        tools["exclude"] = WITHHELD[options.sandbox_mode]
    changes: dict[str, Any] = {
        "general": {"enableAutoUpdate": False, "maxAttempts": 1 + options.max_retries},
        "tools": tools,
    }
    if options.max_turns:
        changes["model"] = {"maxSessionTurns": options.max_turns}
    if options.max_tokens:
        limit = {"generateContentConfig": {"maxOutputTokens": options.max_tokens}}
        changes["modelConfigs"] = {"customOverrides": [{"match": {"overrideScope": "core"}, "modelConfig": limit}]}
    if options.append_system_prompt:
        # In the "tree" format an import that fails is written into the text.
        changes["context"] = {"fileName": ["GEMINI.md", APPENDED], "importFormat": "flat"}
    return changes
