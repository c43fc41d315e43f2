"""A fake model server: Anthropic Messages, OpenAI Responses and Chat Completions, Gemini on one loopback port.

It lets the real ``claude``, ``codex``, ``gemini`` and whatever speaks to an OpenAI-compatible model run with no network
and no account, and keeps what they sent::

    with ModelServer() as model_server:
        ...  # point the CLIs to model_server.url
        assert model_server.asked()[-1].turn.prompt == "hello"

By hand: ``python -m tests.e2e.fake_upstream --port 8901 [--log requests.jsonl] [--bodies]``.

What a request gets is chosen by words in the latest user prompt (and in ``model_server.always``), so that a test
needs no side channel:

    FAKE:401 / 403 / 404 / 429 / 500 / 503 / 529   fail with that status, in the provider's shape
    FAKE:toolong         the context is too long, in the provider's shape
    FAKE:hang            stream half of the deltas, then keep the connection open and silent
    FAKE:hold            wait with the answer until the test calls ``model_server.release()``
    FAKE:drop            stream half of the deltas, then close the connection
    FAKE:big             one answer of FAKE:size bytes (default 2000000)
    FAKE:think           a reasoning block before the text
    FAKE:tool            ask for a shell call (FAKE:cmd="…", default "echo from-the-tool"), answer after it
    FAKE:read            ask for a file read (FAKE:path, default "/etc/hostname"), answer after it
    FAKE:loop            ask for a shell call after every result, for ever
    FAKE:efforts="low high"   refuse to reason with any other effort (OpenAI's)
    FAKE:truncate        stop with "max tokens"
    FAKE:json            the answer is a small JSON object
    FAKE:n=20            number of text deltas (default 3)
    FAKE:delay=0.05      seconds before each delta
    FAKE:first=1.5       seconds before the first byte of the response body
    FAKE:stamp           each delta is the time it was sent (``t<time.monotonic_ns()> ``)
    FAKE:fails=2         fail only the first 2 attempts at this very prompt

The model name "no-such-model" always gets the provider's unknown-model error, and the API key "bad-key" its
authentication error.  The answer states what the server saw: ``fake turn=1 chars=5 model=m sys=120 | w0 w1 w2``
(turn: user messages in the conversation, chars: length of the prompt, sys: length of the system prompt).
"""

from tests.e2e.fake_upstream.server import ModelServer, Received
from tests.e2e.fake_upstream.turn import Turn

__all__ = ["ModelServer", "Received", "Turn"]
