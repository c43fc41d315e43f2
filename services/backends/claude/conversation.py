"""One run with one claude process."""

import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from services.backends.base import Conversation, Options, Phase
from services.backends.claude.accounts import Accounts
from services.backends.claude.answer import NO_EVENTS, Answer, tool_use
from services.backends.claude.failures import Retries, classify, explain, reason_of
from services.backends.claude.history import parts
from services.backends.claude.options import system_prompts
from services.backends.claude.sampling import requests
from services.backends.claude.wire import control, refusal
from services.backends.lenient import NOTHING, count, items, mapping, number, parse_object, text
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Progress, StopReason, ToolResult, Usage

STOP_REASONS: dict[str, StopReason] = {"stop_sequence": "stop_sequence", "refusal": "refusal"}
UNPARSED_BYTES = 2000


class ClaudeConversation(Conversation):
    """Says one message, after those before it, and listens until claude's ``result``."""

    def __init__(self, options: Options, message: bytes) -> None:
        super().__init__()
        self._options = options
        self._message = message
        self._parts: deque[bytes] = deque()
        self._introduced: Init | None = None
        self._model = options.model
        self._answer = Answer()
        self._accounts = Accounts()
        self._retries = Retries()
        self._outcome: Done | Failed | None = None
        self._exits_with = 0
        self._limit_reached = False
        self._error_kind = ""
        self._unparsed = ""
        self._handlers: dict[str, Callable[[Mapping[str, Any]], Sequence[Event]]] = {
            "stream_event": self._on_stream_event,
            "assistant": self._on_assistant,
            "user": self._on_user,
            "system": self._on_system,
            "result": self._on_result,
            "control_response": self._on_control_response,
            "control_request": self._on_control_request,
        }

    # ------------------------------------------------------------------ speaking

    def start(self) -> None:
        """Queue the system prompts, how to ask the model and what is said first; claude takes them in order."""
        if prompts := system_prompts(self._options):
            self.send(control("initialize", **prompts))
        self.send(requests(self._options))
        self._parts.extend(parts(self._options.messages, self._message))
        self.send(self._parts.popleft())

    def interrupt(self) -> signal.Signals:
        """SIGINT: it also ends the shells of claude's tools, and works when claude does not read its stdin."""
        return signal.SIGINT

    # ------------------------------------------------------------------ listening

    def receive(self, line: bytes) -> Sequence[Event]:
        """Take one line of stdout.  Never raises."""
        if not line or self.phase is not Phase.TALKING:
            return NO_EVENTS
        spoken = parse_object(line)
        if spoken is None:
            self._unparsed = line[:UNPARSED_BYTES].decode("utf-8", "replace").strip() or self._unparsed
            return NO_EVENTS
        handler = self._handlers.get(text(spoken.get("type")))
        return handler(spoken) if handler is not None else NO_EVENTS

    def _on_stream_event(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """An event of the provider's stream."""
        if line.get("parent_tool_use_id") or self._limit_reached:  # a sub-agent's words are not the answer
            return NO_EVENTS
        event = mapping(line.get("event"))
        match event.get("type"):
            case "content_block_delta":
                return self._answer.delta(mapping(event.get("delta")))
            case "content_block_start":
                self._answer.block_start(mapping(event.get("content_block")))
            case "message_start":
                message = mapping(event.get("message"))
                self._retries = Retries()
                self._answer.message_start(text(message.get("id")))
                self._accounts.message_start(mapping(message.get("usage")))
            case "message_delta":
                self._accounts.message_delta(mapping(event.get("usage")))
                if mapping(event.get("delta")).get("stop_reason") == "max_tokens":
                    self._on_limit()
                return [Usage(self._accounts.total)]
        return NO_EVENTS

    def _on_limit(self) -> None:
        """The provider cut the message off.

        claude will now ask the model to go on.  That is right for an agent that ran into a limit of its own; an answer
        for which a limit was asked, or of a model without tools, ends here: at once, or so that the answer is kept.
        """
        if not (self._options.max_tokens or self._options.allowed_tools == ()):
            self._answer.cut_off()
            return
        self._limit_reached = True
        if self._options.keep_session:
            self.send(control("interrupt"))
        else:
            self.phase = Phase.ABANDONED

    def _on_assistant(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """Whole content blocks, after their pieces if they were streamed."""
        message = mapping(line.get("message"))
        blocks = [mapping(block) for block in items(message.get("content"))]
        if line.get("parent_tool_use_id"):
            return [tool_use(block) for block in blocks if block.get("type") == "tool_use"]
        self._error_kind = text(line.get("error"))
        if self._error_kind or self._limit_reached or message.get("model") == "<synthetic>":
            return NO_EVENTS  # words of claude's own, which come again in the result
        message_id = text(message.get("id"))
        return [event for block in blocks for event in self._answer.block(block, message_id)]

    def _on_user(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """What claude tells the model: the results of tools."""
        blocks = [mapping(block) for block in items(mapping(line.get("message")).get("content"))]
        return [_tool_result(block) for block in blocks if block.get("type") == "tool_result"]

    def _on_system(self, line: Mapping[str, Any]) -> Sequence[Event]:
        match line.get("subtype"):
            case "init":
                return self._on_init(line)
            case "api_retry":
                return self._on_retry(line)
        return NO_EVENTS

    def _on_init(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """It introduces itself anew before each message."""
        self._model = text(line.get("model")) or self._model
        init = Init(self._model, text(line.get("session_id")))
        if init == self._introduced:
            return NO_EVENTS
        self._introduced = init
        return [init]

    def _on_retry(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """The provider failed, and claude is going to ask again."""
        self._retries.note(line)
        if self._retries.hopeless:
            self._give_up(f"{self._retries.why} at attempt {self._retries.attempts}", self._retries.kind)
            return NO_EVENTS
        return [Progress(f"claude asks its provider again, attempt {self._retries.attempts + 1} ({self._retries.why})")]

    def _on_control_response(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """Only the refusal of something the run depends on matters."""
        response = mapping(line.get("response"))
        request = response.get("request_id")
        if response.get("subtype") == "error" and request != "interrupt":
            self._give_up(f"it refused {request!r} ({text(response.get('error'))}): is it up to date?")
        return NO_EVENTS

    def _on_control_request(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """A question to us."""
        self.send(refusal(text(line.get("request_id"))))
        return NO_EVENTS

    # ------------------------------------------------------------------ ending

    def _on_result(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """The last word on a message: on the prompt, or on one before it."""
        failed = line.get("is_error") is True or line.get("subtype") != "success"
        if self._parts and not failed:
            return self._on_taken(line)
        self.phase = Phase.SETTLED
        self.stdin_done = True
        stop_reason = self._stop_reason(line)
        if failed and stop_reason not in ("max_tokens", "refusal"):
            status = count(line.get("api_error_status")) or None
            self._outcome = self._failure(reason_of(line), self._error_kind, status, line)
            return NO_EVENTS
        self._exits_with = int(failed)
        turns = max(1, count(line.get("num_turns")))
        cost_usd = number(line.get("total_cost_usd"))
        self._outcome = Done(self._accounts.settle(line), cost_usd, turns, stop_reason=stop_reason)
        if stop_reason == "refusal" or not (self._answer.said_anything or stop_reason == "max_tokens"):
            return self._answer.add(text(line.get("result")))
        return NO_EVENTS

    def _on_taken(self, line: Mapping[str, Any]) -> Sequence[Event]:
        """A message before the prompt has its place in the conversation: what comes next can be said."""
        if words := text(line.get("result")):
            self._give_up(f"it did not take an earlier message as one: {words}")
        else:
            self.send(self._parts.popleft())
        return NO_EVENTS

    def _stop_reason(self, line: Mapping[str, Any]) -> StopReason:
        if self._limit_reached or self._error_kind == "max_output_tokens":
            return "max_tokens"
        return STOP_REASONS.get(text(line.get("stop_reason")), "end_turn")

    def _give_up(self, said: str, kind: str = "") -> None:
        """The run has failed, though claude would go on."""
        self._outcome = self._failure(said, kind)
        self.phase = Phase.ABANDONED

    def _failure(
        self, said: str, kind: str = "", status: int | None = None, result: Mapping[str, Any] = NOTHING
    ) -> Failed:
        code = classify(said, kind=kind, status=status or self._retries.status)
        again = code in (ErrorCode.RATE_LIMITED, ErrorCode.OVERLOADED)
        return Failed(
            code,
            explain(code, said, self._model),
            usage=self._accounts.settle(result),
            cost_usd=number(result.get("total_cost_usd")),
            retry_after_s=self._retries.retry_after_s if again else None,
        )

    def finish(self, exit_code: int, stderr_tail: str) -> Done | Failed:
        """The outcome: a success is claude's ``result`` and its exit code."""
        if self.phase is Phase.ABANDONED:
            exit_code = 0  # how it was ended says nothing
        outcome = self._outcome
        if outcome is None and self._limit_reached:
            outcome = Done(self._accounts.total, stop_reason="max_tokens")
            self._exits_with = exit_code
        if isinstance(outcome, Done):
            if exit_code in (0, self._exits_with):
                return outcome
            failure = self._failure(f"it answered, but {_ending(exit_code)}")
            return replace(failure, exit_code=_shell_code(exit_code), usage=outcome.usage, cost_usd=outcome.cost_usd)
        if outcome is None:
            last_words = ": ".join(filter(None, (self._unparsed, stderr_tail)))
            ending = f"{_ending(exit_code)} before it had finished"
            outcome = self._failure(": ".join((ending, last_words)) if last_words else ending)
        return replace(outcome, exit_code=_shell_code(exit_code) or 1)


def _tool_result(block: Mapping[str, Any]) -> ToolResult:
    content = block.get("content")
    parts = [mapping(part) for part in items(content)]
    output = text(content) or "\n".join(text(part.get("text")) or f"[{text(part.get('type'))}]" for part in parts)
    return ToolResult(text(block.get("tool_use_id")), output, block.get("is_error") is True)


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"it ended with exit code {exit_code}"
    return f"it was killed by signal {-exit_code}"


def _shell_code(exit_code: int) -> int:
    """The exit code as a shell tells it: 128 and the signal for a process that was killed."""
    return exit_code if exit_code >= 0 else 128 - exit_code
