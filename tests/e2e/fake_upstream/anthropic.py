"""Anthropic Messages."""

import json
from typing import Any

from tests.e2e.fake_upstream.answer import Answer, ident
from tests.e2e.fake_upstream.turn import Json, tokens

TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
    529: "overloaded_error",
}  # fmt: skip


class Anthropic(Answer):
    """Answers ``POST /v1/messages``."""

    def error(self, status: int) -> None:
        text = f"model: {self.turn.model}" if status == 404 else self.failure(status)
        self.refuse(status, TYPES.get(status, "api_error"), text)

    def too_long(self) -> None:
        self.refuse(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")

    def refuse(self, status: int, kind: str, text: str) -> None:
        self.wire.send_json(
            {"type": "error", "error": {"type": kind, "message": text}}, status, self.retry_after(status)
        )

    def message(self) -> Json:
        usage = {"input_tokens": self.turn.input_tokens, "output_tokens": 1}
        caches = {"cache_creation_input_tokens": 7, "cache_read_input_tokens": 11}
        return {
            "id": ident("msg"),
            "type": "message",
            "role": "assistant",
            "model": self.turn.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage | caches,
        }

    def whole(self) -> None:
        text = "".join(self.turn.pieces())
        message = self.message()
        message["usage"]["output_tokens"] = tokens(text)
        self.wire.send_json({**message, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})

    def send(self, kind: str, **fields: Any) -> None:
        self.event({"type": kind, **fields}, kind)

    def delta(self, index: int, kind: str, **fields: Any) -> None:
        self.send("content_block_delta", index=index, delta={"type": kind, **fields})

    def stream(self) -> None:
        turn = self.turn
        self.begin()
        self.send("message_start", message=self.message())
        index = int(turn.has("think"))
        if index:
            self.think()
        kind = turn.wants_tool()
        out = self.call_tool(index, kind) if kind else self.say(index)
        self.send("content_block_stop", index=index)
        stop = "tool_use" if kind else "max_tokens" if turn.has("truncate") else "end_turn"
        self.send("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": out})
        self.send("message_stop")
        self.wire.end_stream()

    def think(self) -> None:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        self.send("content_block_start", index=0, content_block=block)
        for word in ("let ", "me ", "think"):
            self.delta(0, "thinking_delta", thinking=word)
        self.delta(0, "signature_delta", signature="ZmFrZQ==")
        self.send("content_block_stop", index=0)

    def call_tool(self, index: int, kind: str) -> int:
        name = "Read" if kind == "read" else "Bash"
        call = {"command": self.turn.command(kind), "description": "fake tool call"}
        given = {"file_path": self.turn.path()} if kind == "read" else call
        block = {"type": "tool_use", "id": ident("toolu"), "name": name, "input": {}}
        self.send("content_block_start", index=index, content_block=block)
        self.delta(index, "input_json_delta", partial_json=json.dumps(given))
        return 1

    def say(self, index: int) -> int:
        """Stream the text; the number of its tokens."""
        out = 0
        self.send("content_block_start", index=index, content_block={"type": "text", "text": ""})
        for piece in self.paced():
            out += len(piece)
            self.delta(index, "text_delta", text=piece)
        return max(1, out // 4)
