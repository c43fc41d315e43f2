"""One run with one gemini process."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from services.backends.base import Conversation, Options, Phase
from services.backends.gemini.failures import explained, failure_of, unexplained
from services.backends.gemini.past import is_brought
from services.backends.gemini.signs import COMMANDS, NOT_RESUMED, as_text
from services.backends.gemini.updates import NO_EVENTS, Updates
from services.backends.lenient import count, mapping, parse_object, text
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, StopReason, TokenUsage

INITIALIZE, SESSION, PROMPT, ECHO, COPY = 1, 2, 3, 4, 5
"""The numbers of our requests."""

KEPT = "latest"
"""How gemini may be asked for the one conversation in its home, and calls the session that it makes of it."""


def request(number: int, method: str, **params: object) -> bytes:
    """A JSON-RPC request as a line."""
    return orjson.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + b"\n"


def initialize(number: int) -> bytes:
    """What ACP begins with; gemini minds no repetition."""
    return request(number, "initialize", protocolVersion=1, clientCapabilities={})


def new_session(number: int) -> bytes:
    """A new session in the folder that gemini was started in."""
    return request(number, "session/new", cwd=".", mcpServers=[])


def is_loaded(options: Options) -> bool:
    """Whether gemini is to take up a conversation that it finds in its home."""
    return bool(options.resume) or is_brought(options)


def opening(options: Options) -> bytes:
    """All that can be said before there is a prompt."""
    if is_loaded(options):
        return initialize(INITIALIZE) + request(SESSION, "session/load", sessionId=KEPT, cwd=".", mcpServers=[])
    return initialize(INITIALIZE) + new_session(SESSION)


SILENCE_S = 290.0
"""How long the model may be silent.  After 300 s gemini asks it again, and what it had said would come twice."""

RESUMABLE_COMMANDS = (*COMMANDS, *NOT_RESUMED)


class GeminiConversation(Conversation):
    """Asks one prompt and listens until it is answered."""

    def __init__(self, options: Options, prompt: str) -> None:
        super().__init__()
        self._options = options
        self._prompt = prompt
        self._model = options.model
        self._updates = Updates()
        self._usage = TokenUsage()
        self._listening = not is_loaded(options)
        self._heard_the_past = False
        self._outcome: Done | Failed | None = None

    # ------------------------------------------------------------------ speaking

    def start(self) -> None:
        """The session is on its way; the prompt waits for its name."""

    def _ask(self, session_id: str) -> None:
        signs = RESUMABLE_COMMANDS if self._options.keep_session else COMMANDS
        parts = [{"type": "text", "text": part} for part in as_text(self._prompt, signs)]
        self.send(request(PROMPT, "session/prompt", sessionId=session_id, prompt=parts))
        self.patience_s = SILENCE_S

    def _reply(self, number: object, **reply: object) -> None:
        self.send(orjson.dumps({"jsonrpc": "2.0", "id": number, **reply}) + b"\n")

    # ------------------------------------------------------------------ listening

    def receive(self, line: bytes) -> Sequence[Event]:
        """Take one line of stdout.  Never raises."""
        if self.phase is not Phase.TALKING:
            return NO_EVENTS
        message = parse_object(line)
        if message is None:
            return NO_EVENTS
        method = message.get("method")
        if method == "session/update":
            if not self._listening:
                self._heard_the_past = True
                return NO_EVENTS
            events = self._updates.receive(mapping(mapping(message.get("params")).get("update")))
            self._mind_the_clock()
            return events
        if method is not None:
            return self._on_request(message) if "id" in message else NO_EVENTS
        if "error" in message:
            return self._on_error(message)
        return self._on_result(message)

    def _mind_the_clock(self) -> None:
        self.patience_s = None if self._updates.waits_for_tool else SILENCE_S

    def _on_request(self, message: Mapping[str, Any]) -> Sequence[Event]:
        """A question to us: nobody is there to answer."""
        if message.get("method") != "session/request_permission":
            self._reply(message["id"], error={"code": -32601, "message": "there is no such method"})
            return NO_EVENTS
        self._reply(message["id"], result={"outcome": {"outcome": "cancelled"}})
        events = self._updates.declined(mapping(mapping(message.get("params")).get("toolCall")))
        self._mind_the_clock()
        return events

    def _on_result(self, message: Mapping[str, Any]) -> Sequence[Event]:
        result = mapping(message.get("result"))
        match message.get("id"):
            case 2:
                self._model = text(mapping(result.get("models")).get("currentModelId")) or self._model
                return self._opened(text(result.get("sessionId")))
            case 3:
                self._settle(self._answered(result))
            case 4:
                self._await_the_past()
            case 5:
                return self._taken_up(text(result.get("sessionId")))
        return NO_EVENTS

    def _opened(self, session_id: str) -> Sequence[Event]:
        """The session is there.  A new one tells its name; one that was written for this run has none."""
        if not is_loaded(self._options):
            self._ask(session_id)
            return [Init(self._model, session_id)]
        if self._options.keep_session and not self._options.resume:
            self.send(new_session(COPY))  # it is kept by that one's name
            return NO_EVENTS
        return self._taken_up(self._options.resume)

    def _taken_up(self, name: str) -> Sequence[Event]:
        """The conversation is there that gemini has found in its home."""
        self._heard_the_past = True
        self._await_the_past()
        return [Init(self._model, name)]

    def _await_the_past(self) -> None:
        """Ask once all updates have come in which gemini tells what was said before.

        They come one by one, also after the answer that the session is loaded.  But as long as there are any left,
        one stands in line before the answer to another request: when none came before that, none is left.
        """
        if self._heard_the_past:
            self._heard_the_past = False
            self.send(initialize(ECHO))
        else:
            self._listening = True
            self._ask(KEPT)

    def _on_error(self, message: Mapping[str, Any]) -> Sequence[Event]:
        """A request of ours has failed, and with it the run."""
        if message.get("id") in (INITIALIZE, SESSION, PROMPT, ECHO, COPY):
            failure = failure_of(mapping(message.get("error")), self._model)
            if failure.code is ErrorCode.SESSION_EXPIRED and is_brought(self._options):
                failure = self._failed(ErrorCode.BACKEND_FAILED, "it did not take up the messages before the prompt")
            self._settle(failure)
        return NO_EVENTS

    def _settle(self, outcome: Done | Failed) -> None:
        self._outcome = outcome
        self.phase = Phase.SETTLED
        self.stdin_done = True

    def _answered(self, result: Mapping[str, Any]) -> Done | Failed:
        """What the answer to the prompt says of how it ended."""
        tokens = mapping(mapping(mapping(result.get("_meta")).get("quota")).get("token_count"))
        self._usage = TokenUsage(count(tokens.get("input_tokens")), count(tokens.get("output_tokens")))
        done = Done(self._usage, turn_count=self._updates.turn_count, stop_reason=self._stop_reason())
        match result.get("stopReason"):
            case "end_turn" if self._updates.did_something:
                return done
            case "end_turn":
                return self._failed(ErrorCode.BACKEND_FAILED, "its model gave no answer")
            case "refusal":
                return replace(done, stop_reason="refusal")
            case "max_tokens":
                return self._failed(ErrorCode.CONTEXT_TOO_LONG, "the context window would overflow")
            case "max_turn_requests" if self._options.max_turns:
                said = "it used up the turns it was given (max_turns) before it had finished"
                return self._failed(ErrorCode.BACKEND_FAILED, said)
            case "max_turn_requests":
                return self._failed(ErrorCode.BACKEND_FAILED, "it stopped because its model went round in circles")
            case other:
                return self._failed(ErrorCode.BACKEND_FAILED, f"it stopped before it had finished ({other})")

    def _stop_reason(self) -> StopReason:
        """Whether the provider cut the answer off is not told, but an answer that has used up its limit shows it."""
        limit = self._options.max_tokens
        cut_off = self._updates.turn_count == 1 and 0 < limit <= self._usage.output_tokens
        return "max_tokens" if cut_off else "end_turn"

    def _failed(self, code: ErrorCode, said: str) -> Failed:
        return replace(explained(code, said, self._model), usage=self._usage)

    # ------------------------------------------------------------------ ending

    def finish(self, exit_code: int, stderr_tail: str) -> Done | Failed:
        """The outcome: a success is the answer to the prompt and gemini's exit code."""
        told = exit_code if exit_code >= 0 else 128 - exit_code
        match self._outcome:
            case Done() as done if exit_code == 0:
                return done
            case Failed() as failed:
                return replace(failed, exit_code=told or 1)
            case None if self.phase is Phase.ABANDONED:
                return self._failed(ErrorCode.TIMEOUT, f"its provider was silent for {SILENCE_S:.0f} s")
        return replace(unexplained(exit_code, stderr_tail), exit_code=told or 1, usage=self._usage)


class GeminiCopy(GeminiConversation):
    """Loads a kept conversation, to be kept once more by the name of a new session."""

    def __init__(self, options: Options) -> None:
        super().__init__(options, "")

    def _on_result(self, message: Mapping[str, Any]) -> Sequence[Event]:
        match message.get("id"):
            case 2:
                self.send(new_session(COPY))
            case 5:
                self._settle(Done(turn_count=0))
                return [Init(self._model, text(mapping(message.get("result")).get("sessionId")))]
        return NO_EVENTS
