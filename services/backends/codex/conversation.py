"""One run with one ``codex app-server``: one turn of a thread, of its own or one that was kept."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from services.backends.base import Conversation, Options, Phase
from services.backends.codex.answer import NO_EVENTS, Answer, Thoughts
from services.backends.codex.failures import ended, failure_of, provider_refused
from services.backends.codex.items import tool_result, tool_use
from services.backends.codex.model import model_settings
from services.backends.codex.requests import (
    Request,
    add_messages,
    interrupt,
    is_plain,
    messages_before,
    refusal,
    start_turn,
)
from services.backends.codex.threads import names_its_modes, resume_thread, start_sample_thread, start_thread
from services.backends.codex.usage import Meter
from services.backends.lenient import mapping, parse_object, text
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Progress, StopReason, ToolResult, ToolUse, Usage

NEEDED = tuple(request for request in Request if request is not Request.INTERRUPT)
"""The requests without which there is no run."""

WEBSOCKET_RETRIES = 5
"""How often codex tries a WebSocket, where its provider has one, before it falls back to plain HTTPS."""

RETRY_PATIENCE_S = 20.0
"""How long an announced retry may take to show an effect: a provider can ask for a wait of minutes."""

PROMPT_TOO_LONG = Failed(ErrorCode.CONTEXT_TOO_LONG, "the prompt is too long for the context window of codex's model")
"""codex would shorten a prompt that is in the thread already, without a word, before it asks the model."""

CONVERSATION_TOO_LONG = Failed(
    ErrorCode.CONTEXT_TOO_LONG, "the conversation is too long for the context window of codex's model"
)

THREAD_FULL = Failed(
    ErrorCode.CONTEXT_TOO_LONG,
    "the session fills the context window of codex's model; ask a prompt without $ first, which lets codex make room",
)
"""The same, where it is not for the prompt that there is no room."""

TRUNCATED = "Incomplete response returned, reason: max_output_tokens"


class CodexConversation(Conversation):
    """Asks one prompt and listens until the turn is over."""

    def __init__(self, options: Options, prompt: str) -> None:
        super().__init__()
        self._options = options
        self._prompt = prompt
        self._config: Mapping[str, Any] = {}
        self._thread_id = ""
        self._turn_id = ""
        self._answer = Answer()
        self._thoughts = Thoughts()
        self._meter = Meter(resumed=bool(options.resume))
        self._responses = 0
        self._plans = 0
        self._retries = 0
        self._has_websockets = False
        self._failure: Failed | None = None
        self._stop_reason: StopReason | None = None

    # ------------------------------------------------------------------ speaking

    def start(self) -> None:
        """Wait: each step follows from codex's answer to the one before, and the spawn has taken the first."""

    def interrupt(self) -> signal.Signals | None:
        """Interrupt the turn, which ends its tools too; without a turn the process may just go."""
        if not self._turn_id or self.phase is not Phase.TALKING:
            return signal.SIGTERM
        self.send(interrupt(self._thread_id, self._turn_id))
        return None

    # ------------------------------------------------------------------ listening

    def receive(self, line: bytes) -> Sequence[Event]:
        """Take a response, a request or a notification of codex's; nothing counts after the outcome."""
        if self.phase is not Phase.TALKING:
            return NO_EVENTS
        self.patience_s = None
        message = parse_object(line)
        if message is None:
            return NO_EVENTS
        method = message.get("method")
        if not isinstance(method, str):
            return self._on_response(message)
        if "id" in message:
            self.send(refusal(message["id"], method))
            return NO_EVENTS
        params = mapping(message.get("params"))
        thread_id = params.get("threadId", self._thread_id)
        if thread_id == self._thread_id:
            return self._on_notification(method, params)
        # Of a thread that the agent has opened for a helper of its own: its words are not ours, but its tokens are.
        return self._on_usage(params) if method == "thread/tokenUsage/updated" else NO_EVENTS

    def _on_response(self, message: Mapping[str, Any]) -> Sequence[Event]:
        request, result = message.get("id"), mapping(message.get("result"))
        if "error" in message and request in NEEDED:
            self._settle(failure_of(mapping(message["error"])))
        elif request == Request.INITIALIZE and not self._options.as_model:
            self._open_thread()
        elif request == Request.READ_CONFIG:
            self._config = model_settings(mapping(result.get("config")))
            self._open_thread()
        elif request == Request.START_SAMPLE_THREAD:
            self.send(resume_thread(self._options, self._config, result))
        elif request in (Request.START_THREAD, Request.RESUME_THREAD):
            return self._on_thread(result)
        elif request == Request.ADD_MESSAGES:
            self.send(start_turn(self._options, self._thread_id, self._prompt))
        elif request == Request.START_TURN:
            self._turn_id = text(mapping(result.get("turn")).get("id"))
        return NO_EVENTS

    def _open_thread(self) -> None:
        if not self._options.resume:
            self.send(start_thread(self._options, self._config))
        elif names_its_modes(self._options):
            self.send(resume_thread(self._options, self._config, {}))
        else:
            self.send(start_sample_thread())

    def _on_thread(self, result: Mapping[str, Any]) -> Sequence[Event]:
        self._thread_id = text(mapping(result.get("thread")).get("id"))
        self._has_websockets = result.get("modelProvider") == "openai"
        before = messages_before(self._options, self._prompt)
        turn = start_turn(self._options, self._thread_id, self._prompt)
        self.send(add_messages(self._thread_id, before) if before else turn)
        return [Init(text(result.get("model")), self._thread_id)]

    def _on_notification(self, method: str, params: Mapping[str, Any]) -> Sequence[Event]:
        match method:
            case "item/agentMessage/delta":
                return self._answer.delta(text(params.get("itemId")), text(params.get("delta")))
            case "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta":
                part = (params.get("itemId"), params.get("summaryIndex"), params.get("contentIndex"))
                return self._thoughts.delta(part, text(params.get("delta")))
            case "item/started":
                return self._on_item_started(mapping(params.get("item")))
            case "item/completed":
                return self._on_item_completed(mapping(params.get("item")))
            case "thread/tokenUsage/updated":
                return self._on_usage(params)
            case "turn/plan/updated":
                return self._on_plan(params)
            case "error":
                return self._on_error(params)
            case "warning":
                return [Progress(text(params.get("message")))]
            case "model/rerouted":
                return [Progress(f"the model is now {text(params.get('toModel'))}")]
            case "turn/completed":
                self._on_turn_completed(mapping(params.get("turn")))
        return NO_EVENTS

    def _on_item_started(self, item: Mapping[str, Any]) -> Sequence[Event]:
        self._failure = None
        if item.get("type") == "contextCompaction" and not self._responses and (failure := self._too_long()):
            self._settle(failure)
        use = tool_use(item)
        if use is None:
            return NO_EVENTS
        self._answer.move_on()
        return [use]

    def _on_item_completed(self, item: Mapping[str, Any]) -> Sequence[Event]:
        if item.get("type") == "agentMessage":
            return self._answer.completed(text(item.get("id")), text(item.get("text")))
        return tool_result(item)

    def _too_long(self) -> Failed | None:
        """What gets lost when codex shortens the thread before it asks the model: what this run has put into it."""
        if self._options.messages:
            return CONVERSATION_TOO_LONG
        if is_plain(self._prompt):
            return None
        return THREAD_FULL if self._options.resume else PROMPT_TOO_LONG

    def _on_plan(self, params: Mapping[str, Any]) -> Sequence[Event]:
        self._plans += 1
        plan_id = f"plan_{self._plans}"
        plan = {name: params[name] for name in ("explanation", "plan") if params.get(name) is not None}
        return [ToolUse(plan_id, "update_plan", plan), ToolResult(plan_id, "")]

    def _on_usage(self, params: Mapping[str, Any]) -> Sequence[Event]:
        thread_id, tokens = text(params.get("threadId")), mapping(params.get("tokenUsage"))
        if thread_id == self._thread_id:
            if text(params.get("turnId")) != self._turn_id:
                self._meter.set_out(thread_id, tokens)
                return NO_EVENTS
            self._retries = 0
            self._responses += 1
        self._meter.count(thread_id, tokens)
        return [Usage(self._meter.usage)]

    # ------------------------------------------------------------------ ending

    def _on_error(self, params: Mapping[str, Any]) -> Sequence[Event]:
        """Note an error: the last word, or one that makes codex ask its provider again."""
        error = mapping(params.get("error"))
        self._failure = failure_of(error)
        if params.get("willRetry") is not True:
            return NO_EVENTS
        self._answer.break_off()
        self._retries += 1
        if self._failure.code is ErrorCode.BACKEND_AUTH_FAILED or self._retries > self._retry_limit(error):
            self._settle(self._failure)
            return NO_EVENTS
        self.patience_s = RETRY_PATIENCE_S
        return [Progress(f"asking again: {self._failure.message}")]

    def _retry_limit(self, error: Mapping[str, Any]) -> int:
        may_fall_back = self._has_websockets and not provider_refused(error)
        return self._options.max_retries + (WEBSOCKET_RETRIES if may_fall_back else 0)

    def _on_turn_completed(self, turn: Mapping[str, Any]) -> None:
        error = mapping(turn.get("error"))
        match turn.get("status"):
            case "completed":
                self._stop_reason = "end_turn"
                self._settle(None)
            case "failed" if error.get("message") == TRUNCATED:
                self._stop_reason = "max_tokens"
                self._settle(None)
            case "interrupted" if not error:
                self._settle(Failed(ErrorCode.BACKEND_FAILED, "codex interrupted its turn"))
            case _:
                self._settle(failure_of(error) if error else self._failure or failure_of({}))

    def _settle(self, failure: Failed | None) -> None:
        """The outcome is known, be codex done or not: without stdin it ends at once, whatever it does, and tidily."""
        self._failure = failure
        self.phase = Phase.SETTLED
        self.stdin_done = True

    def finish(self, exit_code: int, stderr_tail: str) -> Done | Failed:
        """Success takes both: a completed turn and a clean exit."""
        if self._failure is not None:
            return replace(self._failure, exit_code=exit_code or 1, usage=self._meter.usage)
        if self._stop_reason is not None and exit_code == 0:
            return Done(self._meter.usage, turn_count=max(1, self._responses), stop_reason=self._stop_reason)
        when = "before the end of its turn" if self._stop_reason is None else "after its turn"
        return replace(ended(exit_code, when, stderr_tail), usage=self._meter.usage)
