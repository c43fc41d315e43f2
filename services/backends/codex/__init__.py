"""OpenAI's codex, spoken to through ``codex app-server``.

It speaks JSON-RPC, one message a line, and it is the only mode of codex that gives its text as it comes.  A run is one
thread with one turn: ``initialize``, ``thread/start``, ``turn/start``, then notifications until ``turn/completed``; at
the end of stdin the server exits.

``backend`` says what to start, ``requests`` what it is told, ``conversation`` talks to it, ``answer`` puts its text
together, ``items`` reads what it does, ``failures`` what went wrong.
"""

from services.backends.codex.backend import CodexBackend

__all__ = ["CodexBackend"]
