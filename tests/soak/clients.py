"""Clients of every kind, each of which knows what it must be answered."""

import hashlib
import http.client
import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tests.support.client import Response
from tests.support.server import Server

BACKENDS = ("claude", "codex", "gemini")
LONGEST_SESSION = 6
"""Turns after which a session is deleted."""
VANISHING, CRASHING, HANGING = 0.10, 0.05, 0.05
"""The shares of clients that go away, and of CLIs that die or say nothing more."""


class Clients:
    """Threads that ask until they are stopped; ``wrong`` says what was not answered as it should have been."""

    def __init__(self, server: Server, number: int, seed: int) -> None:
        self.asked: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._server = server
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(random.Random(seed + i),)) for i in range(number)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, chance: random.Random) -> None:
        client = _Client(self._server, chance)
        while not self._stopped.is_set():
            kind = client.choose()
            problem = ""
            try:
                getattr(client, kind)()
            except (AssertionError, OSError, http.client.HTTPException, ValueError, KeyError) as error:
                problem = f"{kind}: {type(error).__name__}: {error}"[:500]
            with self._lock:
                self.asked[kind] += 1
                if problem:
                    self.wrong.append(problem)
        client.leave()


class _Client:
    """One client; each method is one kind of request and raises AssertionError when the answer is wrong."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self._server = server
        self._http = server.client
        self._chance = chance
        self._sessions: dict[str, tuple[str, int]] = {}

    def choose(self) -> str:
        """The kind of the next request."""
        dice = self._chance.random()
        for kind, share in (("vanish", VANISHING), ("crash", CRASHING), ("hang", HANGING)):
            if dice < share:
                return kind
            dice -= share
        return self._chance.choice(KINDS)

    def leave(self) -> None:
        """Delete what is left."""
        for ident in self._sessions:
            with suppress(OSError, http.client.HTTPException):
                self._http.request("DELETE", f"/api/v1/sessions/{ident}")

    # ------------------------------------------------------------------ native

    def plain(self) -> None:
        text = self._words()
        answer = _good(self._http.prompt(text, self._backend(), ephemeral=True))
        _check(answer["output"], text)
        assert answer["exit_code"] == 0

    def stream(self) -> None:
        text = self._words("FAKE:delay=0.01")
        with self._http.stream(text, self._backend(), ephemeral=True) as exchange:
            events = list(exchange.events())
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        _check("".join(event["content"]["text"] for event in events if event["type"] == "message"), text)
        assert events[-1]["type"] == "done"

    def begin(self) -> None:
        text, backend = self._words(), self._backend()
        answer = _good(self._http.prompt(text, backend))
        _check(answer["output"], text)
        self._sessions[answer["session_id"]] = (backend, 1)

    def go_on(self) -> None:
        if not self._sessions:
            return self.begin()
        ident, (backend, turns) = self._chance.choice(list(self._sessions.items()))
        if turns >= LONGEST_SESSION:
            return self._delete(ident)
        text = self._words()
        answer = _good(self._http.prompt(text, backend, session_id=ident))
        _check(answer["output"], text, turn=turns + 1)
        self._sessions[ident] = (backend, turns + 1)
        return None

    def _delete(self, ident: str) -> None:
        del self._sessions[ident]
        assert _good(self._http.request("DELETE", f"/api/v1/sessions/{ident}"))["deleted"] is True

    def parallel(self) -> None:
        texts = [self._words() for _ in range(3)]
        tasks = [{"backend": self._backend(), "prompt": text} for text in texts]
        answer = _good(self._http.post("/api/v1/parallel", {"tasks": tasks}))
        assert answer["completed"] == 3
        for text, result in zip(texts, answer["results"], strict=True):
            _check(result["output"], text)

    def chain(self) -> None:
        first = self._words()
        steps = [{"backend": self._backend(), "prompt": text} for text in (first, "again: {{previous}}")]
        answer = _good(self._http.post("/api/v1/chain", {"steps": steps}))
        assert answer["completed_steps"] == 2
        _check(answer["results"][0]["output"], first)
        _check(answer["results"][1]["output"], "again: " + answer["results"][0]["output"])

    def compare(self) -> None:
        text = self._words()
        answer = _good(self._http.post("/api/v1/compare", {"prompt": text, "backends": list(BACKENDS)}))
        for result in answer["results"]:
            _check(result["output"], text)

    def look(self) -> None:
        path = self._chance.choice(("/health", "/api/v1/backends", "/api/v1/sessions", "/api/v1/runs", "/openapi.json"))
        _good(self._http.get(path))

    def refused(self) -> None:
        response = self._http.prompt("", self._backend())
        assert response.status == 400, response.text

    # ------------------------------------------------------------------ the SDKs' routes

    def openai(self) -> None:
        text = self._words()
        body = {"model": self._backend(), "messages": [{"role": "user", "content": text}]}
        answer = _good(self._http.post("/openai/v1/chat/completions", body))
        _check(answer["choices"][0]["message"]["content"], text)

    def openai_stream(self) -> None:
        text = self._words("FAKE:delay=0.01")
        body = {"model": self._backend(), "messages": [{"role": "user", "content": text}], "stream": True}
        lines = _lines(self._http.post("/openai/v1/chat/completions", body))
        assert lines.pop() == "[DONE]"
        chunks = [json.loads(line)["choices"][0]["delta"] for line in lines]
        _check("".join(delta.get("content") or "" for delta in chunks), text)

    def anthropic(self) -> None:
        text = self._words()
        answer = _good(self._http.post("/anthropic/v1/messages", self._message(text)))
        _check(answer["content"][-1]["text"], text)

    def anthropic_stream(self) -> None:
        text = self._words("FAKE:delay=0.01")
        events = [
            json.loads(line) for line in _lines(self._http.post("/anthropic/v1/messages", self._message(text, True)))
        ]
        assert events[-1]["type"] == "message_stop"
        deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        _check("".join(delta.get("text", "") for delta in deltas), text)

    def _message(self, text: str, stream: bool = False) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}]
        return {"model": self._backend(), "max_tokens": 1000, "messages": messages, "stream": stream}

    # ------------------------------------------------------------------ what goes wrong

    def vanish(self) -> None:
        text = self._words("FAKE:n=200 FAKE:delay=0.02")
        streamed = self._chance.random() < 0.5
        form = {"output_format": "stream-json"} if streamed else {}
        body = {"backend": self._backend(), "prompt": text, "ephemeral": self._chance.random() < 0.5, **form}
        exchange = self._http.send("POST", "/api/v1/prompt", body)
        if streamed:
            next(exchange.lines())
        else:
            threading.Event().wait(self._chance.uniform(0, 0.3))
        exchange.vanish(reset=self._chance.random() < 0.5)

    def crash(self) -> None:
        how = self._chance.choice(
            ("FAKE:die=9", "FAKE:die=11 FAKE:early", "FAKE:exit=3", "FAKE:silent", "FAKE:garbage")
        )
        answer = _good(self._http.prompt(f"{how} {uuid.uuid4()}", self._backend(), ephemeral=True))
        assert answer["exit_code"] != 0, answer
        assert answer["error_code"] == "backend_failed", answer

    def hang(self) -> None:
        words = self._chance.choice(("FAKE:hang", "FAKE:hang FAKE:ignore-term"))
        answer = _good(self._http.prompt(words, self._backend(), ephemeral=True))
        assert (answer["exit_code"], answer["error_code"]) == (-1, "timeout"), answer

    def cancel(self) -> None:
        text = self._words("FAKE:n=300 FAKE:delay=0.05")
        with self._http.stream(text, self._backend(), ephemeral=True) as exchange:
            events = exchange.events()
            run = next(events)["run_id"]
            _good(self._http.request("DELETE", f"/api/v1/runs/{run}"))
            last = list(events)[-1]
        assert (last["type"], last["content"]["code"]) == ("error", "canceled"), last

    # ------------------------------------------------------------------ words

    def _backend(self) -> str:
        return self._chance.choice(BACKENDS)

    def _words(self, words: str = "") -> str:
        return f"{uuid.uuid4()} FAKE:n={self._chance.randrange(1, 9)} {words}".strip()


KINDS: Sequence[str] = (
    "plain", "plain", "stream", "stream", "begin", "go_on", "go_on", "go_on", "parallel", "chain", "compare", "look",
    "look", "refused", "openai", "openai_stream", "anthropic", "anthropic_stream", "cancel",
)  # fmt: skip


def _good(response: Response) -> Any:
    assert response.status == 200, f"{response.status} {response.text}"
    return response.json()


def _lines(response: Response) -> list[str]:
    assert response.status == 200, f"{response.status} {response.text}"
    return [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]


def _check(output: str, prompt: str, turn: int = 1) -> None:
    """Whether an answer is the one to this prompt, and whole."""
    summary, _, rest = output.partition(" | ")
    told: Mapping[str, str] = dict(word.split("=", 1) for word in summary.split() if "=" in word)
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    assert told.get("sha256") == digest, f"the answer to another prompt: {output[:200]!r}"
    assert told.get("turn") == str(turn), f"turn {turn} was asked: {output[:200]!r}"
    assert rest.split() == [f"w{i}" for i in range(len(rest.split()))], f"pieces are missing: {output[:300]!r}"
