"""What is done about a kept thread without a turn: copying it and deleting it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from services.backends.base import Conversation, Options, Phase
from services.backends.codex.answer import NO_EVENTS
from services.backends.codex.failures import ended, failure_of, names_no_thread
from services.backends.codex.requests import Request, refusal
from services.backends.codex.threads import delete_thread, fork_thread, read_thread
from services.backends.lenient import mapping, parse_object, text
from services.events import Done, Event, Failed, Init


class CodexErrand(Conversation):
    """Asks for one thing; ``first`` is what is asked once codex has answered the greeting."""

    def __init__(self, options: Options, first: bytes) -> None:
        super().__init__()
        self._options = options
        self._first = first
        self._done = False
        self._failure: Failed | None = None

    @classmethod
    def copying(cls, options: Options) -> "CodexErrand":
        """Make a thread with the same history and, unless another is named, the same model."""
        return cls(options, fork_thread(options, options.model) if options.model else read_thread(options))

    @classmethod
    def deleting(cls, options: Options) -> "CodexErrand":
        """Remove the thread; that there is none is as good."""
        return cls(options, delete_thread(options))

    def start(self) -> None:
        """Wait for codex to answer the greeting."""

    def receive(self, line: bytes) -> Sequence[Event]:
        """Take a response; of the rest, only requests of codex's own need an answer."""
        message = parse_object(line)
        if message is None or self.phase is not Phase.TALKING:
            return NO_EVENTS
        method = message.get("method")
        if isinstance(method, str):
            if "id" in message:
                self.send(refusal(message["id"], method))
            return NO_EVENTS
        if "error" in message:
            self._on_error(message.get("id"), mapping(message["error"]))
            return NO_EVENTS
        return self._on_result(message.get("id"), mapping(message.get("result")))

    def _on_result(self, request: object, result: Mapping[str, Any]) -> Sequence[Event]:
        thread = mapping(result.get("thread"))
        match request:
            case Request.INITIALIZE:
                self.send(self._first)
            case Request.READ_THREAD:
                self.send(fork_thread(self._options, text(thread.get("model"))))
            case Request.FORK_THREAD:
                self._settle(None)
                return [Init(text(result.get("model")), text(thread.get("id")))]
            case Request.DELETE_THREAD:
                self._settle(None)
        return NO_EVENTS

    def _on_error(self, request: object, error: Mapping[str, Any]) -> None:
        is_gone = request == Request.DELETE_THREAD and names_no_thread(error)
        self._settle(None if is_gone else failure_of(error))

    def _settle(self, failure: Failed | None) -> None:
        self._failure = failure
        self._done = failure is None
        self.phase = Phase.SETTLED
        self.stdin_done = True

    def finish(self, exit_code: int, stderr_tail: str) -> Done | Failed:
        """Success takes both: codex's word and a clean exit."""
        if self._failure is not None:
            return replace(self._failure, exit_code=exit_code or 1)
        if self._done and exit_code == 0:
            return Done(turn_count=0)
        return ended(exit_code, "after its answer" if self._done else "before its answer", stderr_tail)
