"""What claude keeps in its home."""

import re

NAMED_BY_SESSION = (
    ".claude/projects/*/{session}.jsonl",  # the conversation
    ".claude/projects/*/{session}",  # those of its sub-agents, and outputs of tools that were too long for it
    ".claude/debug/{session}.txt",
    ".claude/file-history/{session}",
    ".claude/image-cache/{session}",
    ".claude/session-env/{session}",
    ".claude/tasks/{session}",
    ".claude/todos/{session}*",
    ".claude/uploads/{session}",
)
"""Everything that belongs to a session, as patterns relative to the user's home."""

SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_session_id(text: str) -> bool:
    """Whether claude may have a session of that name: all are UUIDs, and nothing else belongs into a path."""
    return SESSION_ID.fullmatch(text) is not None
