"""``codex app-server``: JSON-RPC in lines, one thread at a time."""

from __future__ import annotations

import json
from collections import deque

from tests.fake_cli.dialect import Dialect
from tests.fake_cli.script import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

THREAD = "01a20469-a607-7951-b08c-1f2cf14eb934"
KINDS = {401: "unauthorized", 403: "unauthorized", 404: "modelNotFound", 429: "usageLimitExceeded"}


class Codex(Dialect):
    """Answers turns, asks approvals, and ends when stdin does, in the middle of a turn too."""

    version = "codex-cli 0.169.0"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.questions: deque[str] = deque()
        self.model = "codex-fake"
        self.system = ""
        self.turns = 0
        self.item = ""
        self.said: list[str] = []
        self.decision = ""

    def run(self) -> int:
        if self.arguments[:1] != ["app-server"]:
            return 2
        while (line := self.terminal.line()) is not None:
            self.hear(line)
            while self.questions:
                self.turns += 1
                asked = Asked(self.questions.popleft(), model=self.model, system=self.system, turn=self.turns)
                self.ask(asked)
            self.terminal.flush()
        return 0

    def hear(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        match message:
            case {"id": ident, "method": str(method)}:
                self.request(ident, method, message.get("params") or {})
            case {"id": _, "result": {"decision": decision}}:
                self.decision = json.dumps(decision)
            case {"id": _, "error": _}:
                self.decision = "error"

    def hear_end(self) -> None:
        if not self.deaf:
            raise SystemExit(0)

    def request(self, ident: Any, method: str, params: dict[str, Any]) -> None:
        self.terminal.note("request", method=method)
        match method:
            case "initialize":
                self.reply(ident, userAgent="fake/0.169.0", codexHome="/nowhere", platformFamily="unix")
            case "thread/start" | "thread/resume":
                self.model = params.get("model") or self.model
                self.system = (params.get("baseInstructions") or "") + (params.get("developerInstructions") or "")
                thread = {
                    "id": params.get("threadId") or THREAD,
                    "ephemeral": params.get("ephemeral", False),
                    "turns": [],
                }
                self.reply(ident, thread=thread, model=self.model, modelProvider="fake", cwd=params.get("cwd"))
                self.notify("thread/started", thread=thread)
            case "thread/inject_items":
                self.turns += sum(item.get("role") == "user" for item in params["items"])
                self.reply(ident)
            case "turn/start":
                self.model = params.get("model") or self.model
                self.reply(ident, turn=self.turn("inProgress"))
                self.questions.append("".join(part.get("text", "") for part in params["input"]))
            case "turn/interrupt":
                self.interrupted = True
                self.reply(ident)
            case _:
                self.terminal.json({"id": ident, "error": {"code": -32601, "message": f"no method {method}"}})
        self.terminal.flush()

    # -- what is printed

    def reply(self, ident: Any, **result: Any) -> None:
        self.terminal.json({"id": ident, "result": result})

    def notify(self, method: str, **params: Any) -> None:
        self.terminal.json({"method": method, "params": params})

    def turn(self, status: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"id": f"turn-{self.turns}", "items": [], "status": status, "error": error}

    def place(self) -> dict[str, Any]:
        return {"threadId": THREAD, "turnId": f"turn-{self.turns}"}

    def started(self, kind: str, ident: str, **fields: Any) -> None:
        self.item = ident
        self.notify("item/started", item={"type": kind, "id": ident, **fields}, **self.place())

    def completed(self, kind: str, ident: str, **fields: Any) -> None:
        self.item = ""
        self.notify("item/completed", item={"type": kind, "id": ident, **fields}, **self.place())

    def begin(self, asked: Asked) -> None:
        self.said.clear()
        self.notify("turn/started", threadId=THREAD, turn=self.turn("inProgress"))
        content = [{"type": "text", "text": asked.prompt, "text_elements": []}]
        self.started("userMessage", "user_1", content=content)
        self.completed("userMessage", "user_1", content=content)

    def thinking(self, text: str) -> None:
        if self.item != "rs_1":
            self.started("reasoning", "rs_1", summary=[], content=[])
            self.notify("item/reasoning/summaryPartAdded", **self.place(), itemId="rs_1", summaryIndex=0)
        where = {**self.place(), "itemId": "rs_1", "summaryIndex": 0}
        self.notify("item/reasoning/summaryTextDelta", **where, delta=text)

    def text(self, text: str) -> None:
        if self.item == "rs_1":
            self.completed("reasoning", "rs_1", summary=["let me think"], content=[])
        if not self.said:
            self.started("agentMessage", "msg_1", text="")
        self.said.append(text)
        self.notify("item/agentMessage/delta", **self.place(), itemId="msg_1", delta=text)

    def command(self, command: str, status: str, output: str | None, code: int | None) -> dict[str, Any]:
        return {
            "command": f"/bin/sh -c '{command}'",
            "status": status,
            "aggregatedOutput": output,
            "exitCode": code,
        }

    def tool_use(self, tool_id: str, command: str) -> None:
        self.started("commandExecution", tool_id, **self.command(command, "inProgress", None, None))

    def tool_result(self, tool_id: str, command: str, output: str, code: int) -> None:
        self.completed("commandExecution", tool_id, **self.command(command, "completed", output, code))

    def approval(self, command: str) -> str:
        self.decision = ""
        params = {**self.place(), "itemId": "call_1", "command": command, "cwd": "/", "reason": None}
        self.terminal.json({"id": 0, "method": "item/commandExecution/requestApproval", "params": params})
        self.terminal.flush()
        while not self.decision and not self.rest(0.01):
            pass
        return self.decision

    def finish(self) -> None:
        self.completed("agentMessage", "msg_1", text="".join(self.said))
        used = {
            "totalTokens": 14,
            "inputTokens": 5,
            "cachedInputTokens": 2,
            "outputTokens": 9,
            "reasoningOutputTokens": 3,
        }
        usage = {"total": used, "last": used, "modelContextWindow": 258400}
        self.notify("thread/tokenUsage/updated", **self.place(), tokenUsage=usage)
        self.notify("turn/completed", threadId=THREAD, turn=self.turn("completed"))

    def fail(self, status: int, message: str) -> None:
        kind = "contextWindowExceeded" if "too long" in message else KINDS.get(status, "other")
        error: dict[str, Any] = {
            "message": f"{message}, url: http://fake",
            "codexErrorInfo": kind,
            "additionalDetails": None,
        }
        if status >= 500:
            failed = {"responseStreamDisconnected": {"httpStatusCode": status}}
            retry = {**error, "message": "Reconnecting... 1/2", "codexErrorInfo": failed}
            self.notify("error", error=retry, willRetry=True, **self.place())
            error["codexErrorInfo"] = {"responseTooManyFailedAttempts": {"httpStatusCode": status}}
        self.notify("error", error=error, willRetry=False, **self.place())
        self.notify("turn/completed", threadId=THREAD, turn=self.turn("failed", error))

    def stopped(self) -> None:
        self.notify("turn/completed", threadId=THREAD, turn=self.turn("interrupted"))
        self.terminal.flush()
