"""claude (Claude Code), spoken to in stream-json both ways.

``backend`` says what to start, ``options`` what it is told by other ways than flags, ``conversation`` talks to it in
the lines of ``wire``.  ``answer`` puts its text together, ``accounts`` adds up its tokens, ``failures`` reads its
excuses, ``traces`` knows what it leaves in its home.
"""

from services.backends.claude.backend import ClaudeBackend

__all__ = ["ClaudeBackend"]
