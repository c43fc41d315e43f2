"""``claude -p`` with text or stream-json on stdin and stream-json on stdout."""

from __future__ import annotations

import json
import os
import signal
from collections import deque

from tests.fake_cli.claude_model import ModelRequest
from tests.fake_cli.claude_sessions import Session, new_id
from tests.fake_cli.dialect import Dialect
from tests.fake_cli.script import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SESSION = "11111111-2222-4333-8444-555555555555"
ERRORS = {401: "authentication_failed", 403: "authentication_failed", 404: "model_not_found", 429: "rate_limit"}


def text_of(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


class CutOff(Exception):  # noqa: N818 - no error
    """The answer has reached its limit."""


class Claude(Dialect):
    """Answers user lines, obeys control requests; an API error is a ``success`` with ``is_error``.

    It keeps its conversations unless told not to, and takes up, copies and misses those that were kept.  What the model
    would be asked stands in the diary, as ``model``.  ``CLAUDE_CODE_MAX_OUTPUT_TOKENS`` counts the pieces of an answer;
    as the real one it then asks the model to go on.  A line of the model's is taken at once, one of the user's once
    there is nothing else to read.
    """

    version = "2.1.197 (Claude Code)"
    signal_exits: Mapping[int, int] = {signal.SIGTERM: 143, signal.SIGINT: 0}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.questions: deque[tuple[str, bool]] = deque()
        self.request = ModelRequest([] if "--tools=" in arguments[2] else ["Bash"])
        self.turns = 0
        self.exit_code = 0
        self.model = self.option("--model") or "claude-fake"
        self.system = self.option("--system-prompt") + self.option("--append-system-prompt")
        self.keeps = "--no-session-persistence" not in self.arguments
        self.session = Session(self.option("--session-id") or (new_id() if self.keeps else SESSION))
        self.past: list[dict[str, Any]] = []
        self.partial = "--include-partial-messages" in self.arguments
        self.block = -1
        self.block_type = ""
        self.said: list[str] = []
        self.pieces = 0
        self.message: list[str] = []

    def run(self) -> int:
        resumed = self.option("--resume")
        if resumed and not self.take_up(Session(resumed)):
            return 1
        if self.option("--input-format") != "stream-json":
            self.questions.append((self.terminal.everything().decode(), True))
        while True:
            while self.questions:
                self.turn(*self.questions.popleft())
            if (line := self.terminal.line()) is None:
                return self.exit_code
            self.hear(line)
            while (more := self.terminal.line(block=False)) is not None:
                self.hear(more)
            self.terminal.flush()

    def turn(self, text: str, asks: bool) -> None:
        """Take a message of the user's into the conversation, and answer it if it asks."""
        if text.startswith("/"):
            self.introduce()
            self.say_result(f"Unknown command: {text.split(maxsplit=1)[0]}")
            return
        self.keep({"type": "user", "message": {"role": "user", "content": text}, "model": self.model})
        self.request.messages.append(("user", text))
        self.turns += 1
        if asks:
            self.ask(Asked(text, model=self.model, system=self.system, turn=self.turns))
        else:
            self.introduce()
            self.say_result("")

    def say_result(self, text: str) -> None:
        """The end of a turn for which no model was asked."""
        self.emit("result", subtype="success", is_error=False, result=text, num_turns=0, usage={})
        self.terminal.flush()

    def ask(self, asked: Asked) -> None:
        request = self.request
        told = {"system": self.system, "messages": request.messages, "tools": request.tools}
        self.terminal.note("model", **told, generation=request.generation(), attaches=request.attaches)
        self.pieces = 0
        try:
            super().ask(asked)
        except CutOff:
            self.close_block()
            self.close_message("max_tokens")
            self.terminal.flush()
            self.rest(60)  # the model has been asked to go on, and takes its time
        request.messages.append(("assistant", "".join(self.said)))

    def take_up(self, session: Session) -> bool:
        """Go on with a conversation, or with a copy of it; False when it is not to be found."""
        if not session.exists():
            self.miss(f"No conversation found with session ID: {session.ident}")
            return False
        questions = session.questions()
        self.turns = len(questions)
        self.request.messages += [("user", question["message"]["content"]) for question in questions]
        self.model = self.option("--model") or next((question["model"] for question in questions[-1:]), self.model)
        if "--fork-session" in self.arguments:
            self.past = questions
        else:
            self.session = session
        return True

    def keep(self, *questions: dict[str, Any]) -> None:
        """Write down what was asked; a copy is begun by its first message, whatever that is."""
        if self.keeps:
            self.session.add(*self.past, *questions)
        self.past = []

    def hear(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            message = json.loads(line)
        except ValueError:
            raise SystemExit(1) from None  # as the real one does
        match message:
            case {"type": "control_request", "request_id": ident, "request": {"subtype": subtype} as request}:
                self.control(ident, subtype, request)
            case {"type": "assistant", "message": {"content": content}}:
                self.request.messages.append(("assistant", text_of(content)))
            case {"type": "user", "shouldQuery": False, "message": {"content": []}}:
                self.keep()
                self.introduce()
                self.say_result("")
            case {"type": "user", "message": {"content": content}}:
                self.questions.append((text_of(content), message.get("shouldQuery", True)))

    def control(self, ident: str, subtype: str, request: dict[str, Any]) -> None:
        self.terminal.note("control", subtype=subtype)
        match subtype:
            case "initialize":
                system = request.get("systemPrompt") or request.get("appendSystemPrompt") or self.system
                self.system = "\n".join(system) if isinstance(system, list) else system
                response: dict[str, Any] = {"response": {"commands": [], "models": []}}
            case "interrupt":
                self.interrupted = True
                response = {}
            case "apply_flag_settings":
                self.request.apply(request["settings"])
                response = {"response": {}}
            case "set_max_thinking_tokens":
                self.request.limit_thinking(request["max_thinking_tokens"])
                response = {"response": {}}
            case "set_permission_mode":
                response = {"response": {}}
            case _:
                error = {"subtype": "error", "request_id": ident, "error": f"Unsupported control request: {subtype}"}
                self.terminal.json({"type": "control_response", "response": error})
                return
        success = {"subtype": "success", "request_id": ident, **response}
        self.terminal.json({"type": "control_response", "response": success})
        self.terminal.flush()

    # -- what is printed

    def emit(self, kind: str, **fields: Any) -> None:
        self.terminal.json({"type": kind, **fields, "session_id": self.session.ident, "uuid": "u"})

    def stream(self, kind: str, **fields: Any) -> None:
        if self.partial:
            self.emit("stream_event", event={"type": kind, **fields}, parent_tool_use_id=None)

    def usage(self, out: int) -> dict[str, int]:
        return {
            "input_tokens": 5,
            "output_tokens": out,
            "cache_creation_input_tokens": 7,
            "cache_read_input_tokens": 11,
        }

    def begin(self, asked: Asked) -> None:
        self.said.clear()
        self.introduce()

    def introduce(self) -> None:
        self.emit(
            "system", subtype="init", cwd="", tools=self.request.tools, model=self.model, permissionMode="default"
        )

    def open_block(self, kind: str, **block: Any) -> None:
        """Begin a content block, and a message when none is open."""
        if self.block_type == kind:
            return
        if self.block < 0:
            start = {
                "id": f"msg_{self.turns}",
                "type": "message",
                "role": "assistant",
                "model": self.model,
                "content": [],
            }
            self.stream("message_start", message={**start, "usage": self.usage(1)})
        else:
            self.close_block()
        self.block += 1
        self.block_type = kind
        self.stream("content_block_start", index=self.block, content_block={"type": kind, **block})

    def close_block(self, content: dict[str, Any] | None = None) -> None:
        whole = "".join(self.message)
        self.message.clear()
        block = content or {"type": self.block_type, self.block_type: whole}
        message = {"id": f"msg_{self.turns}", "role": "assistant", "model": self.model, "content": [block]}
        self.emit("assistant", message={**message, "usage": self.usage(1)}, parent_tool_use_id=None)
        self.stream("content_block_stop", index=self.block)

    def close_message(self, stop_reason: str) -> None:
        self.stream("message_delta", delta={"stop_reason": stop_reason}, usage={"output_tokens": 9})
        self.stream("message_stop")
        self.block, self.block_type = -1, ""

    def thinking(self, text: str) -> None:
        self.open_block("thinking", thinking="")
        self.message.append(text)
        self.stream("content_block_delta", index=self.block, delta={"type": "thinking_delta", "thinking": text})

    def text(self, text: str) -> None:
        if self.pieces == self.request.limit > 0:
            raise CutOff
        self.pieces += 1
        self.open_block("text", text="")
        self.message.append(text)
        self.said.append(text)
        self.stream("content_block_delta", index=self.block, delta={"type": "text_delta", "text": text})

    def tool_use(self, tool_id: str, command: str) -> None:
        self.session.use_tool()
        self.open_block("tool_use", id=tool_id, name="Bash", input={})
        delta = {"type": "input_json_delta", "partial_json": json.dumps({"command": command})}
        self.stream("content_block_delta", index=self.block, delta=delta)
        self.close_block({"type": "tool_use", "id": tool_id, "name": "Bash", "input": {"command": command}})
        self.close_message("tool_use")

    def tool_result(self, tool_id: str, command: str, output: str, code: int) -> None:
        block = {"tool_use_id": tool_id, "type": "tool_result", "content": output.strip(), "is_error": code != 0}
        self.emit("user", message={"role": "user", "content": [block]}, parent_tool_use_id=None)

    def result(self, subtype: str, text: str, *, status: int | None = None, is_error: bool = False) -> None:
        self.exit_code = int(is_error)
        self.emit(
            "result",
            subtype=subtype,
            is_error=is_error,
            api_error_status=status,
            duration_ms=10,
            num_turns=1,
            result=text,
            stop_reason="end_turn",
            total_cost_usd=0.0 if is_error else 0.00125,
            usage=self.usage(0 if is_error else 9),
            permission_denials=[],
        )

    def finish(self) -> None:
        self.close_block()
        self.close_message("end_turn")
        self.result("success", "".join(self.said))

    def fail(self, status: int, message: str) -> None:
        if status not in {400, 404}:
            retry = {"attempt": 1, "max_retries": 1, "retry_delay_ms": 1.0, "error_status": status}
            self.emit("system", subtype="api_retry", **retry, error=ERRORS.get(status, "server_error"))
            self.terminal.flush()
            if self.rest(0.05):
                return
        text = f"API Error: {status} {message}"
        synthetic = {"model": "<synthetic>", "role": "assistant", "content": [{"type": "text", "text": text}]}
        self.emit("assistant", message=synthetic, error=ERRORS.get(status, "server_error"))
        self.result("success", text, status=status, is_error=True)

    def miss(self, message: str) -> None:
        """There is no such conversation."""
        self.emit("result", subtype="error_during_execution", is_error=True, num_turns=0, usage={}, errors=[message])
        self.terminal.flush()
        os.write(2, message.encode() + b"\n")

    def stopped(self) -> None:
        self.block, self.block_type = -1, ""
        self.message.clear()
        note = {"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]}
        self.emit("user", message=note)
        self.result("error_during_execution", "", is_error=True)
        self.terminal.flush()
