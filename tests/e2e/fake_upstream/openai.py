"""OpenAI Responses, always streamed."""

import itertools
import json
import time
from collections.abc import Iterator
from threading import Event
from typing import Any

from tests.e2e.fake_upstream.answer import Answer, Wire, ident
from tests.e2e.fake_upstream.turn import Json, Turn

CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
TOO_LONG = "Your input exceeds the context window of this model. Please adjust your input and try again."


class OpenAI(Answer):
    """Answers ``POST /v1/responses``."""

    def __init__(self, wire: Wire, turn: Turn, closing: Event) -> None:
        super().__init__(wire, turn, closing)
        self.ident = ident("resp")
        self.numbers: Iterator[int] = itertools.count()

    def error(self, status: int) -> None:
        text = f"The model '{self.turn.model}' does not exist" if status == 404 else self.failure(status)
        kind = "invalid_request_error" if status < 500 else "server_error"
        error = {"message": text, "type": kind, "code": CODES.get(status, "server_error"), "param": None}
        self.wire.send_json({"error": error}, status, self.retry_after(status))

    def too_long(self) -> None:
        self.begin()
        self.send("response.created", response=self.response("in_progress"))
        error = {"code": "context_length_exceeded", "message": TOO_LONG}
        self.send("response.failed", response=self.response("failed", error=error))
        self.wire.end_stream()

    def send(self, kind: str, **fields: Any) -> None:
        self.event({"type": kind, "sequence_number": next(self.numbers), **fields}, kind)

    def response(self, status: str, **fields: Any) -> Json:
        head = {"id": self.ident, "object": "response", "created_at": int(time.time()), "model": self.turn.model}
        return {**head, "status": status, "output": [], **fields}

    def refuse_effort(self, known: str) -> None:
        effort = self.turn.effort
        text = f"Unsupported value: '{effort}' is not supported with the '{self.turn.model}' model. Supported: {known}."
        error = {"message": text, "type": "invalid_request_error", "param": "reasoning.effort"}
        self.wire.send_json({"error": {**error, "code": "unsupported_value"}}, 400)

    def stream(self) -> None:
        turn = self.turn
        if turn.has("efforts") and turn.effort not in turn.words.text("efforts").split():
            self.refuse_effort(turn.words.text("efforts"))
            return
        self.begin()
        self.send("response.created", response=self.response("in_progress"))
        items: list[Json] = [self.think()] if turn.has("think") else []
        kind = turn.wants_tool()
        index = len(items)
        item, out = self.call_tool(index, kind) if kind else self.say(index)
        self.send("response.output_item.done", output_index=index, item=item)
        result = {"output": [*items, item], "usage": self.usage(out)}
        if turn.has("truncate"):
            details = {"reason": "max_output_tokens"}
            cut = self.response("incomplete", **result, incomplete_details=details)
            self.send("response.incomplete", response=cut)
        else:
            self.send("response.completed", response=self.response("completed", **result))
        self.wire.end_stream()

    def usage(self, out: int) -> Json:
        reasoning = 3 if self.turn.has("think") else 0
        return {
            "input_tokens": self.turn.input_tokens,
            "input_tokens_details": {"cached_tokens": 2},
            "output_tokens": out,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": self.turn.input_tokens + out,
        }

    def think(self) -> Json:
        where = {"item_id": "rs_fake", "output_index": 0, "summary_index": 0}
        item: Json = {"type": "reasoning", "id": "rs_fake", "summary": []}
        self.send("response.output_item.added", output_index=0, item=item)
        self.send("response.reasoning_summary_part.added", **where, part={"type": "summary_text", "text": ""})
        for word in ("**Let ", "me** ", "think"):
            self.send("response.reasoning_summary_text.delta", **where, delta=word)
        summary = [{"type": "summary_text", "text": "**Let me** think"}]
        item = {**item, "summary": summary, "encrypted_content": "ZmFrZQ=="}
        self.send("response.output_item.done", output_index=0, item=item)
        return item

    def call_tool(self, index: int, kind: str) -> tuple[Json, int]:
        item = self.tool_item(self.turn.command(kind))
        self.send("response.output_item.added", output_index=index, item=item)
        return item, 1

    def tool_item(self, command: str) -> Json:
        call = {"type": "function_call", "id": ident("fc", 12), "call_id": ident("call", 12)}
        tools = self.turn.tools
        if "exec_command" in tools:
            return {**call, "name": "exec_command", "arguments": json.dumps({"cmd": command})}
        if "shell_command" in tools:
            return {**call, "name": "shell_command", "arguments": json.dumps({"command": command})}
        if "exec" in tools:  # "code mode": one free-form tool that takes JavaScript
            script = f"const r = await tools.exec_command({json.dumps({'cmd': command})}); text(r.output);"
            return {**call, "type": "custom_tool_call", "name": "exec", "input": script}
        if "apply_patch" in tools:
            patch = f"*** Begin Patch\n*** Add File: {self.turn.path()}\n+hello\n*** End Patch\n"
            return {**call, "type": "custom_tool_call", "name": "apply_patch", "input": patch}
        return {**call, "name": "shell", "arguments": json.dumps({"command": ["sh", "-c", command]})}

    def say(self, index: int) -> tuple[Json, int]:
        """Stream the text; the finished item and the number of its tokens."""
        name = ident("msg", 12)
        item: Json = {"type": "message", "id": name, "role": "assistant", "status": "in_progress", "content": []}
        self.send("response.output_item.added", output_index=index, item=item)
        said = []
        for piece in self.paced():
            said.append(piece)
            where = {"item_id": name, "output_index": index, "content_index": 0}
            self.send("response.output_text.delta", **where, delta=piece)
        text = "".join(said)
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {**item, "status": "completed", "content": content}, max(1, len(text) // 4)
