"""``codex app-server``: JSON-RPC in lines; it talks in the thread it was last told of.

What its model would be asked stands in the diary, as ``model``.
"""

from __future__ import annotations

import json
import os
from collections import deque

from tests.fake_cli.codex_settings import ConfigError, user_config
from tests.fake_cli.codex_threads import Thread
from tests.fake_cli.dialect import Dialect
from tests.fake_cli.script import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KINDS = {401: "unauthorized", 403: "unauthorized", 404: "modelNotFound", 429: "usageLimitExceeded"}


class Codex(Dialect):
    """Answers turns, asks approvals, and ends when stdin does, in the middle of a turn too."""

    version = "codex-cli 0.169.0"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.questions: deque[str] = deque()
        self.threads: dict[str, Thread] = {}
        self.thread = Thread.start({}, "")
        self.experimental = False
        self.effort = ""
        self.item = ""
        self.said: list[str] = []
        self.decision = ""

    def run(self) -> int:
        if self.arguments[:1] != ["app-server"]:
            return 2
        while (line := self.terminal.line()) is not None:
            self.hear(line)
            while self.questions:
                thread = self.thread
                told = {"system": thread.system, "messages": thread.sent, "tools": thread.tools}
                self.terminal.note("model", **told, effort=self.effort)
                model, turn = thread.kept["model"], len(thread.asked)
                self.ask(Asked(self.questions.popleft(), model=model, system=thread.system, turn=turn))
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
        if "environments" in params and not self.experimental:
            self.refuse(ident, f"{method}.environments requires experimentalApi capability")
            return
        match method:
            case "initialize":
                self.experimental = params.get("capabilities", {}).get("experimentalApi", False)
                self.reply(ident, userAgent="fake/0.169.0", codexHome="/nowhere", platformFamily="unix")
            case "config/read":
                self.reply(ident, config=user_config())
            case "thread/start":
                self.open(ident, lambda: Thread.start(params, os.getcwd()))
            case "thread/resume" | "thread/read" | "thread/fork" | "thread/delete":
                self.on_kept(ident, method, params)
            case "thread/inject_items":
                self.thread = self.threads.get(params["threadId"], self.thread)
                for item in params["items"]:
                    self.thread.add(item["role"], "".join(part["text"] for part in item["content"]))
                self.reply(ident)
            case "turn/start":
                self.thread = self.threads.get(params["threadId"], self.thread)
                self.thread.kept["turns"] += 1
                self.reply(ident, turn=self.turn("inProgress"))
                for part in params["input"]:
                    self.thread.add("user", part["text"])
                self.effort = params.get("effort", "")
                self.questions.append(self.thread.asked[-1])
            case "turn/interrupt":
                self.interrupted = True
                self.reply(ident)
            case _:
                self.refuse(ident, f"no method {method}", -32601)
        self.terminal.flush()

    def on_kept(self, ident: Any, method: str, params: dict[str, Any]) -> None:
        """What is asked of a thread that is kept."""
        thread = Thread.find(params["threadId"])
        if thread is None:
            words = "thread not loaded:" if method == "thread/read" else "no rollout found for thread id"
            self.refuse(ident, f"{words} {params['threadId']}")
            return
        match method:
            case "thread/resume":
                self.open(ident, lambda: thread.reopen(params))
            case "thread/read":
                self.reply(ident, thread=thread.about())
            case "thread/fork":
                copied = thread.copy(params)
                copied.save()
                self.opened(ident, copied)
            case "thread/delete":
                thread.delete()
                self.reply(ident)

    def open(self, ident: Any, thread: Callable[[], Thread]) -> None:
        try:
            self.opened(ident, thread())
        except ConfigError as error:
            self.refuse(ident, str(error))

    def opened(self, ident: Any, thread: Thread) -> None:
        self.threads[thread.ident] = thread
        self.thread = thread
        self.reply(ident, **thread.opened())
        self.notify("thread/started", thread=thread.about())

    # -- what is printed

    def reply(self, ident: Any, **result: Any) -> None:
        self.terminal.json({"id": ident, "result": result})

    def refuse(self, ident: Any, message: str, code: int = -32600) -> None:
        self.terminal.json({"id": ident, "error": {"code": code, "message": message}})

    def notify(self, method: str, **params: Any) -> None:
        self.terminal.json({"method": method, "params": params})

    def turn(self, status: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"id": f"turn-{self.thread.kept['turns']}", "items": [], "status": status, "error": error}

    def place(self) -> dict[str, Any]:
        return {"threadId": self.thread.ident, "turnId": f"turn-{self.thread.kept['turns']}"}

    def started(self, kind: str, ident: str, **fields: Any) -> None:
        self.item = ident
        self.notify("item/started", item={"type": kind, "id": ident, **fields}, **self.place())

    def completed(self, kind: str, ident: str, **fields: Any) -> None:
        self.item = ""
        self.notify("item/completed", item={"type": kind, "id": ident, **fields}, **self.place())

    def begin(self, asked: Asked) -> None:
        self.said.clear()
        self.thread.save()
        self.notify("turn/started", threadId=self.thread.ident, turn=self.turn("inProgress"))
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
        self.thread.add("assistant", "".join(self.said))
        self.notify("thread/tokenUsage/updated", **self.place(), tokenUsage=self.thread.used())
        self.thread.save()
        self.notify("turn/completed", threadId=self.thread.ident, turn=self.turn("completed"))

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
        self.notify("turn/completed", threadId=self.thread.ident, turn=self.turn("failed", error))

    def stopped(self) -> None:
        self.notify("turn/completed", threadId=self.thread.ident, turn=self.turn("interrupted"))
        self.terminal.flush()
