"""How a program of one client library is asked, and how it tells what its library gave it.

A question comes as a line of JSON on stdin, the fields of :class:`Question`.  What is printed are lines of JSON::

    {"ready": true}                  the first line: the library is loaded
    {"said": "some text"}            a piece of the answer, at once when the library gives it
    {"waiting": true}                the question says to leave: enough has come, and a line on stdin is waited for
    {"end": {"stop": "stop", …}}     the fields of End; nothing in it when the client has left
    {"error": {"classes": […], "status": 429, "message": "…"}}     what the library raised, with its base classes
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, TypeVar

SERVER_VARIABLE = "CLIENT_SERVER"
"""The environment variable with the server's address, ``http://HOST:PORT``."""
ENOUGH = 3
"""After so many pieces a client leaves that was told to."""

T = TypeVar("T")
How: TypeAlias = Literal["plain", "stream", "leave"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks: a system text and one message of the user."""

    how: How
    key: str
    model: str
    system: str
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """What the library says beside the text; "" and 0 where it says nothing of the kind."""

    stop: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    request_id: str = ""


Said: TypeAlias = str | End
Talk: TypeAlias = Generator[Said, None, None]
AsyncTalk: TypeAlias = AsyncGenerator[Said, None]


def server() -> str:
    """The address of the server."""
    return os.environ[SERVER_VARIABLE]


def serve(plain: Callable[[Question], Talk], stream: Callable[[Question], Talk]) -> None:
    """Answer questions until stdin ends.  A talk that is left is closed, as by a ``break`` out of its loop."""
    say(ready=True)
    for line in iter(sys.stdin.readline, ""):
        question = Question(**json.loads(line))
        ask = plain if question.how == "plain" else stream
        try:
            with closing(ask(question)) as talk:
                tell(talk, leave=question.how == "leave")
        except Exception as error:
            say(error=failure(error))


def serve_async(plain: Callable[[Question], AsyncTalk], stream: Callable[[Question], AsyncTalk]) -> None:
    """The same with coroutines, all in one event loop that never stops, as in a program that does more than ask."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def wait(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    def driven(ask: Callable[[Question], AsyncTalk]) -> Callable[[Question], Talk]:
        def drive(question: Question) -> Talk:
            talk = ask(question)
            try:
                while (said := wait(_next(talk))) is not None:
                    yield said
            finally:
                wait(_close(talk))

        return drive

    serve(driven(plain), driven(stream))


async def _next(talk: AsyncTalk) -> Said | None:
    return await anext(talk, None)


async def _close(talk: AsyncTalk) -> None:
    await talk.aclose()


def tell(talk: Talk, *, leave: bool) -> None:
    """Print what is said; with ``leave`` stop after enough of it, when a line on stdin says so."""
    pieces = 0
    for said in talk:
        if isinstance(said, End):
            say(end=asdict(said))
            return
        say(said=said)
        pieces += bool(said)
        if leave and pieces >= ENOUGH:
            say(waiting=True)
            sys.stdin.readline()
            break
    talk.close()
    say(end={})


def failure(error: Exception) -> dict[str, object]:
    """The error as its user sees it."""
    classes = [kind.__name__ for kind in type(error).__mro__]
    return {"classes": classes, "status": getattr(error, "status_code", None) or 0, "message": str(error)}


def say(**fields: object) -> None:
    """Print one line at once."""
    print(json.dumps(fields), flush=True)
