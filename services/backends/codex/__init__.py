"""OpenAI's codex, spoken to through ``codex app-server``.

It speaks JSON-RPC, one message a line, and it is the only mode of codex that gives its text as it comes.  A run is one
turn of a thread: ``initialize``, ``thread/start`` or ``thread/resume``, ``turn/start``, then notifications until
``turn/completed``; at the end of stdin the server exits.

``backend`` says what to start, ``requests`` and ``threads`` what it is told, ``model`` how it is no agent,
``conversation`` talks to it, ``answer`` puts its text together, ``items`` reads what it does, ``usage`` counts its
tokens, ``failures`` says what went wrong; ``errands`` copy and delete threads.
"""

from services.backends.codex.backend import CodexBackend

__all__ = ["CodexBackend"]
