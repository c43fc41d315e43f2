"""Google's gemini, spoken to through ``gemini --acp``.

The Agent Client Protocol, JSON-RPC with one message a line, is the mode of gemini in which a prompt is text: its text
mode reads every ``@path`` in the folder, and nothing stops that but changing the text.  A run is one session with one
prompt: ``initialize``, ``session/new``, ``session/prompt``, notifications until the answer to that; at the end of stdin
it exits.  It shows the model's thoughts, too; of its tools it tells less than the text mode does.

``backend`` says what to start, ``home`` with which settings and ``sampling`` what these say of the model; ``history``
keeps a conversation and ``past`` writes one; ``conversation`` talks to it, with the texts that ``signs`` disarms,
``updates`` reads what it does, ``failures`` what went wrong.
"""

from services.backends.gemini.backend import GeminiBackend

__all__ = ["GeminiBackend"]
