"""The HTTP side: routes, what is kept of each request, pacing of the bytes."""

import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.fake_upstream.answer import Answer, Header, ident
from tests.e2e.fake_upstream.anthropic import Anthropic
from tests.e2e.fake_upstream.chat import Chat
from tests.e2e.fake_upstream.gemini import Gemini
from tests.e2e.fake_upstream.openai import OpenAI
from tests.e2e.fake_upstream.turn import Json, Turn, anthropic_turn, chat_turn, gemini_turn, openai_turn, tokens

MODELS = {
    "object": "list",
    "data": [{"id": "fake-model", "object": "model", "type": "model", "display_name": "Fake", "created": 0}],
    "models": [],
}
GEMINI_PATH = re.compile(r"/models/([^/:]+):(\w+)$")


@dataclass(frozen=True, slots=True)
class Received:
    """One request.  ``turn`` is None where nothing was asked of a model, ``status`` what was answered."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    turn: Turn | None = None
    status: int = 200

    def json(self) -> Any:
        return json.loads(self.body)

    def summary(self, *, bodies: bool) -> Json:
        """For the log file."""
        summary: Json = {"t": round(self.at, 3), "method": self.method, "path": self.path, "bytes": len(self.body)}
        if turn := self.turn:
            asked = {"model": turn.model, "prompt": turn.prompt[:120], "turns": turn.turns, "sys": len(turn.system)}
            result = (turn.tool_result or "")[:80] or None
            summary |= {**asked, "tools": turn.tools, "tool_result": result, "status": self.status}
        if bodies:
            summary["body"] = self.body.decode("utf-8", "replace")
        return summary


class ModelServer(ThreadingHTTPServer):
    """The fake model server, running from construction to :meth:`close`.  ``always`` are words for every prompt."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, *, log: Path | None = None, bodies: bool = False, always: str = "") -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.always = always
        self.closing = threading.Event()
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._attempts: Counter[str] = Counter()
        self.answers: list[Answer] = []
        self._log = log
        self._bodies = bodies
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def requests(self) -> list[Received]:
        """All that came, in order."""
        with self._lock:
            return list(self._received)

    def asked(self) -> list[Received]:
        """The requests that asked a model for text, without the CLIs' own helper calls."""
        return [one for one in self.requests() if one.turn is not None and not one.turn.wants_json]

    def turns(self) -> list[Turn]:
        """What models were asked."""
        return [one.turn for one in self.asked() if one.turn is not None]

    def deltas(self) -> int:
        """How many pieces of text were sent so far, in all answers."""
        return sum(answer.deltas for answer in self.answers)

    def attempts(self, prompt: str) -> int:
        """How often this very prompt was asked."""
        with self._lock:
            return self._attempts[prompt]

    def clear(self) -> None:
        """Forget what came so far."""
        with self._lock:
            self._received.clear()
            self._attempts.clear()
        self.answers.clear()
        self._released.clear()

    def release(self) -> None:
        """Let the answers go on that wait by ``FAKE:hold``."""
        self._released.set()

    def hold(self) -> None:
        """Wait for :meth:`release`."""
        while not self._released.wait(0.05) and not self.closing.is_set():
            pass

    def keep(self, received: Received) -> None:
        """Keep a request, and log it."""
        with self._lock:
            self._received.append(received)
            if self._log:
                with self._log.open("a") as log:
                    log.write(json.dumps(received.summary(bodies=self._bodies)) + "\n")

    def attempt(self, turn: Turn) -> int:
        """Count an attempt at this prompt; how many there were."""
        with self._lock:
            self._attempts[turn.prompt] += 1
            return self._attempts[turn.prompt]

    def close(self) -> None:
        """Stop; answers that hang end."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        kind = sys.exc_info()[0]
        if not (kind and issubclass(kind, ConnectionError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ModelServer
    body = b""

    # -- writing

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; requests are kept."""

    def send_json(self, value: Json, status: int = 200, headers: tuple[Header, ...] = ()) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("request-id", ident("req", 12))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def start_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    # -- reading

    def keep(self, turn: Turn | None = None, status: int = 200) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.keep(Received(time.time(), self.command, self.path, headers, self.body, turn, status))

    def do_GET(self) -> None:
        self.keep()
        if self.path.partition("?")[0].endswith("/models"):
            self.send_json(MODELS)
        else:
            self.send_json({"error": {"message": "fake upstream: not found", "type": "not_found_error"}}, 404)

    def do_HEAD(self) -> None:
        self.keep()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self.route(json.loads(self.body or b"{}"))
        except ConnectionError:
            self.close_connection = True
        except ValueError:
            self.keep(status=400)
            self.send_json({"error": {"message": "body is not JSON"}}, 400)

    def route(self, body: Json) -> None:
        path, always = self.path.partition("?")[0], self.server.always
        gemini = GEMINI_PATH.search(path)
        if path.endswith("/messages/count_tokens"):
            self.keep()
            self.send_json({"input_tokens": tokens(self.body.decode())})
        elif path.endswith("/messages"):
            self.answer(Anthropic, anthropic_turn(body, always), stream=bool(body.get("stream")))
        elif path.endswith("/responses"):
            self.answer(OpenAI, openai_turn(body, always), stream=True)
        elif path.endswith("/chat/completions"):
            self.answer(Chat, chat_turn(body, always), stream=bool(body.get("stream")))
        elif gemini and gemini[2] == "countTokens":
            self.keep()
            self.send_json({"totalTokens": tokens(self.body.decode())})
        elif gemini:
            self.answer(Gemini, gemini_turn(body, gemini[1], always), stream=gemini[2] == "streamGenerateContent")
        else:
            self.keep(status=404)
            self.send_json({"error": {"message": "fake upstream: no such path"}}, 404)

    def answer(self, provider: Callable[..., Answer], turn: Turn, *, stream: bool) -> None:
        status = self.status_for(turn)
        self.keep(turn, status)
        answer = provider(self, turn, self.server.closing)
        self.server.answers.append(answer)
        if turn.has("hold"):
            self.server.hold()
        if status == 400:
            answer.too_long()
        elif status != 200:
            answer.error(status)
        elif stream:
            answer.stream()
        else:
            answer.whole()

    def status_for(self, turn: Turn) -> int:
        """What is answered: 200, or how it fails (400: the context is too long)."""
        attempt, fails = self.server.attempt(turn), turn.words.number("fails")
        if self.key() == "bad-key":
            return 401
        if turn.model == "no-such-model":
            return 404
        if fails and attempt > fails:
            return 200
        return 400 if turn.has("toolong") else turn.words.status() or 200

    def key(self) -> str:
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return self.headers.get("x-api-key") or self.headers.get("x-goog-api-key") or bearer
