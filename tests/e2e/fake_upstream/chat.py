"""OpenAI Chat Completions, which most other command lines speak."""

import json
import time
from threading import Event
from typing import Any

from tests.e2e.fake_upstream.answer import Wire, ident
from tests.e2e.fake_upstream.openai import TOO_LONG, OpenAI
from tests.e2e.fake_upstream.turn import Json, Turn


class Chat(OpenAI):
    """Answers ``POST /v1/chat/completions``; its errors are those of Responses."""

    def __init__(self, wire: Wire, turn: Turn, closing: Event) -> None:
        super().__init__(wire, turn, closing)
        self.ident = ident("chatcmpl")
        self.created = int(time.time())

    def too_long(self) -> None:
        error = {"message": TOO_LONG, "type": "invalid_request_error", "code": "context_length_exceeded"}
        self.wire.send_json({"error": {**error, "param": "messages"}}, 400)

    def whole(self) -> None:
        text = "".join(self.paced())
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason()}
        self.wire.send_json(self.head("chat.completion", choices=[choice], usage=self.chat_usage(text)))

    def stream(self) -> None:
        self.begin()
        self.delta({"role": "assistant", "content": ""})
        if self.turn.has("think"):
            for word in ("let ", "me ", "think"):
                self.delta({"reasoning_content": word})
        said: list[str] = []
        if kind := self.turn.wants_tool():
            self.delta({"tool_calls": [self.tool_call(kind)]})
            self.delta({}, "tool_calls")
        else:
            for piece in self.paced():
                said.append(piece)
                self.delta({"content": piece})
            self.delta({}, self.finish_reason())
        self.event(self.head("chat.completion.chunk", choices=[], usage=self.chat_usage("".join(said))))
        self.wire.chunk(b"data: [DONE]\n\n")
        self.wire.end_stream()

    def head(self, kind: str, **fields: Any) -> Json:
        return {"id": self.ident, "object": kind, "created": self.created, "model": self.turn.model, **fields}

    def delta(self, delta: Json, finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        self.event(self.head("chat.completion.chunk", choices=[choice]))

    def finish_reason(self) -> str:
        return "length" if self.turn.has("truncate") else "stop"

    def chat_usage(self, said: str) -> Json:
        usage = self.usage(max(1, len(said) // 4))
        return {
            "prompt_tokens": usage["input_tokens"],
            "prompt_tokens_details": usage["input_tokens_details"],
            "completion_tokens": usage["output_tokens"],
            "completion_tokens_details": usage["output_tokens_details"],
            "total_tokens": usage["total_tokens"],
        }

    def tool_call(self, kind: str) -> Json:
        """A call of whatever the command line calls its shell."""
        name = next((tool for tool in ("bash", "run_shell_command") if tool in self.turn.tools), "bash")
        arguments = {"command": self.turn.command(kind), "description": "fake tool call", "is_background": False}
        function = {"name": name, "arguments": json.dumps(arguments)}
        return {"index": 0, "id": ident("call", 12), "type": "function", "function": function}
