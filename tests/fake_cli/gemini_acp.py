"""``gemini --acp``: the Agent Client Protocol, JSON-RPC in lines."""

from __future__ import annotations

import json
import os
import signal
from collections import deque

from tests.fake_cli.dialect import Dialect
from tests.fake_cli.gemini import error_body, generation, system_prompt, tools
from tests.fake_cli.gemini_chats import Chat, text_of
from tests.fake_cli.script import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class GeminiAcp(Dialect):
    """Answers ``session/prompt``, of whose parts the last is taken for the prompt; obeys ``session/cancel``.

    Takes a conversation up again that it finds in its home, of which it tells all that was said.  What the model would
    be asked stands in the diary, as ``model``.
    """

    version = "0.61.0"
    signal_exits: Mapping[int, int] = {signal.SIGTERM: 0, signal.SIGINT: 0}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.questions: deque[tuple[Any, Chat, str]] = deque()
        self.model = self.option("-m", "--model") or "gemini-fake"
        self.prompt_id: Any = None
        self.chats: dict[str, Chat] = {}
        self.chat: Chat | None = None
        self.said = ""
        self.thought = ""
        self.decision = ""

    def run(self) -> int:
        while (line := self.terminal.line()) is not None:
            self.hear(line)
            while self.questions:
                self.prompt_id, self.chat, prompt = self.questions.popleft()
                self.chat.add("user", prompt)
                self.said = ""
                self.terminal.note(
                    "model", system=system_prompt(), messages=self.chat.sent, tools=tools(), generation=generation()
                )
                self.ask(Asked(prompt, model=self.model, system=system_prompt(), turn=self.chat.turns))
            self.terminal.flush()
        return 0

    def hear(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        match message:
            case {"method": "session/cancel"}:
                self.terminal.note("request", method="session/cancel")
                self.interrupted = True
            case {"id": ident, "method": str(method)}:
                self.request(ident, method, message.get("params") or {})
            case {"id": _, "result": {"outcome": {"outcome": outcome}}}:
                self.decision = outcome

    def request(self, ident: Any, method: str, params: dict[str, Any]) -> None:
        self.terminal.note("request", method=method)
        match method:
            case "initialize":
                self.reply(ident, protocolVersion=1, authMethods=[], agentInfo={"name": "gemini-cli"})
            case "session/new":
                chat = Chat.begin()
                self.open(chat)
                self.reply(ident, sessionId=chat.ident, **self.models())
                self.update("available_commands_update", availableCommands=[])
            case "session/load":
                self.load(ident, params["sessionId"])
            case "session/prompt" if params["sessionId"] not in self.chats:
                self.say(id=ident, error={"code": -32602, "message": f"Session not found: {params['sessionId']}"})
            case "session/prompt":
                self.questions.append((ident, self.chats[params["sessionId"]], params["prompt"][-1]["text"]))
            case "authenticate" | "session/set_mode" | "session/set_model":
                self.reply(ident)
            case _:
                self.say(id=ident, error={"code": -32601, "message": f'"Method not found": {method}'})
        self.terminal.flush()

    def open(self, chat: Chat) -> None:
        self.chat = self.chats[chat.ident] = chat

    def load(self, ident: Any, session: str) -> None:
        chat = Chat.latest(session)
        if chat is None:
            details = {"details": "No previous sessions found for this project."}
            self.say(id=ident, error={"code": -32603, "message": "Internal error", "data": details})
            return
        self.open(chat)
        for number, message in enumerate(chat.messages):
            if number == 1:
                self.reply(ident, **self.models())
            kind = "user" if message["type"] == "user" else "agent"
            self.update(f"{kind}_message_chunk", content={"type": "text", "text": text_of(message)})
        if len(chat.messages) == 1:
            self.reply(ident, **self.models())

    def models(self) -> dict[str, Any]:
        return {"models": {"currentModelId": self.model, "availableModels": []}}

    # -- what is printed

    def say(self, **fields: Any) -> None:
        self.terminal.json({"jsonrpc": "2.0", **fields})

    def reply(self, ident: Any, **result: Any) -> None:
        self.say(id=ident, result=result)

    def update(self, update: str, /, **fields: Any) -> None:
        session = self.chat.ident if self.chat is not None else ""
        self.say(method="session/update", params={"sessionId": session, "update": {"sessionUpdate": update, **fields}})

    def thinking(self, text: str) -> None:
        self.thought += text  # a thought comes whole

    def end_thought(self) -> None:
        if self.thought:
            content = {"type": "text", "text": f"**Fake thought**\n{self.thought}"}
            self.update("agent_thought_chunk", content=content)
            self.thought = ""

    def text(self, text: str) -> None:
        self.end_thought()
        self.said += text
        self.update("agent_message_chunk", content={"type": "text", "text": text})

    def tool_use(self, tool_id: str, command: str) -> None:
        self.end_thought()
        call = {"toolCallId": call_id(tool_id), "status": "in_progress", "title": command}
        self.update("tool_call", **call, content=[], locations=[], kind="execute")

    def tool_result(self, tool_id: str, command: str, output: str, code: int) -> None:
        content = [{"type": "content", "content": {"type": "text", "text": output.strip()}}]
        status = "completed" if code == 0 else "failed"
        self.update("tool_call_update", toolCallId=call_id(tool_id), status=status, content=content)

    def approval(self, command: str) -> str:
        self.decision = ""
        call = {"toolCallId": call_id("tool_0"), "status": "pending", "title": command, "kind": "execute"}
        assert self.chat is not None
        params = {"sessionId": self.chat.ident, "options": [], "toolCall": {**call, "content": [], "locations": []}}
        self.say(id=0, method="session/request_permission", params=params)
        self.terminal.flush()
        while not self.decision and not self.rest(0.01):
            pass
        return self.decision

    def finish(self) -> None:
        assert self.chat is not None
        self.chat.add("gemini", self.said)
        used = {"input_tokens": 5, "output_tokens": 9}
        quota = {"token_count": used, "model_usage": [{"model": self.model, "token_count": used}]}
        self.reply(self.prompt_id, stopReason="end_turn", _meta={"quota": quota})

    def fail(self, status: int, message: str) -> None:
        os.write(2, f"Attempt 1 failed with status {status}. Max attempts reached\n".encode())
        self.say(id=self.prompt_id, error={"code": status, "message": error_body(status, message)})

    def stopped(self) -> None:
        self.reply(self.prompt_id, stopReason="cancelled")
        self.terminal.flush()


def call_id(tool_id: str) -> str:
    """The call's id, which has the tool's name in it twice."""
    return f"run_shell_command__run_shell_command_1795369724252_{tool_id.removeprefix('tool_')}"
