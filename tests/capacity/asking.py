"""Many clients at once."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.client import Client, Response


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got, and after how long; ``problem`` is why it got nothing."""

    took_s: float
    response: Response | None
    problem: str = ""

    @property
    def kind(self) -> str:
        """``done``, or the code of the error."""
        if self.response is None:
            return self.problem
        told = self.response.json()
        return "done" if told.get("exit_code") == 0 else str(told.get("error_code") or told.get("error"))

    @property
    def retry_after_s(self) -> int:
        """When to come again; 0 when that was not said."""
        return 0 if self.response is None else int(self.response.headers.get("Retry-After", 0))


def at_once(asks: Sequence[Callable[[], Response]]) -> list[Answer]:
    """Let each of them ask in a thread of its own, all at the same moment."""
    start = threading.Barrier(len(asks))
    answers: list[Answer] = []

    def ask(one: Callable[[], Response]) -> None:
        start.wait()
        began_s = time.monotonic()
        try:
            response, problem = one(), ""
        except OSError as error:
            response, problem = None, type(error).__name__
        answers.append(Answer(time.monotonic() - began_s, response, problem))

    threads = [threading.Thread(target=ask, args=(one,)) for one in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def prompts(client: Client, count: int, words: str, **fields: Any) -> list[Answer]:
    """So many clients with the same prompt."""
    return at_once([lambda: client.prompt(words, **fields)] * count)


def kinds(answers: Sequence[Answer]) -> Counter[str]:
    """How many got what."""
    return Counter(answer.kind for answer in answers)
