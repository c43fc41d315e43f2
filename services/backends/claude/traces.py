"""What claude keeps in its home, as patterns relative to the user's."""

import re

NAMED_BY_SESSION = (
    "projects/*/{session}.jsonl",  # the conversation
    "projects/*/{session}",  # those of its sub-agents, and outputs of tools that were too long for it
    "debug/{session}.txt",
    "file-history/{session}",
    "image-cache/{session}",
    "session-env/{session}",
    "tasks/{session}",
    "todos/{session}*",
    "uploads/{session}",
)
LONGEST_NAME = 200
"""How much of a folder's path the name of its project holds; a checksum follows."""


SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_session_id(text: str) -> bool:
    """Whether claude may have a session of that name: all are UUIDs, and nothing else belongs into a path."""
    return SESSION_ID.fullmatch(text) is not None


def of_session() -> tuple[str, ...]:
    """Everything that belongs to a session."""
    return tuple(f".claude/{pattern}" for pattern in NAMED_BY_SESSION)


def empty_folders(workdir: str) -> tuple[str, ...]:
    """What may be left of a folder's project when no session of it is left, the innermost first."""
    name = re.sub("[^a-zA-Z0-9]", "-", workdir)
    project = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-*"
    return (f".claude/projects/{project}/memory", f".claude/projects/{project}")
