"""Gemini generateContent and streamGenerateContent."""

import json

from tests.e2e.fake_upstream.answer import Answer
from tests.e2e.fake_upstream.turn import Json

NAMES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE",
}  # fmt: skip
TOO_LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
ROUTER = {
    "reasoning": "fake",
    "model_choice": "flash",
    "complexity_reasoning": "fake",
    "complexity_score": 1,
    "unproductive_state_confidence": 0,
    "unproductive_state_analysis": "",
}
"""What the CLI's own helper calls (the model router, the loop detector) want to hear."""


class Gemini(Answer):
    """Answers ``POST /v1beta/models/…``."""

    def error(self, status: int) -> None:
        self.refuse(status, f"models/{self.turn.model} is not found" if status == 404 else self.failure(status))

    def too_long(self) -> None:
        self.refuse(400, TOO_LONG)

    def refuse(self, status: int, text: str) -> None:
        error = {"code": status, "message": text, "status": NAMES.get(status, "INTERNAL")}
        self.wire.send_json({"error": error}, status, self.retry_after(status))

    def reply(self, parts: list[Json], out: int = 0, finish: str = "") -> Json:
        candidate: Json = {"index": 0, "content": {"role": "model", "parts": parts}}
        reply: Json = {"candidates": [candidate], "modelVersion": self.turn.model, "responseId": "fake"}
        if finish:
            candidate["finishReason"] = finish
            asked, said, thought = self.turn.input_tokens, max(1, out // 4), 3 if self.turn.has("think") else 0
            reply["usageMetadata"] = {
                "promptTokenCount": asked,
                "candidatesTokenCount": said,
                "thoughtsTokenCount": thought,
                "cachedContentTokenCount": 2,
                "totalTokenCount": asked + said + thought,
            }
        return reply

    def whole(self) -> None:
        text = json.dumps(ROUTER) if self.turn.wants_json else "".join(self.turn.pieces())
        self.wire.send_json(self.reply([{"text": text}], len(text), "STOP"))

    def stream(self) -> None:
        self.begin()
        if self.turn.has("think"):
            self.event(self.reply([{"text": "**Fake thought** let me think", "thought": True}]))
        if kind := self.turn.wants_tool():
            call = {"functionCall": self.call(kind), "thoughtSignature": "ZmFrZQ=="}
            self.event(self.reply([call], 4, "STOP"))
        else:
            out = 0
            for piece in self.paced():
                out += len(piece)
                self.event(self.reply([{"text": piece}]))
            self.event(self.reply([{"text": ""}], out, "MAX_TOKENS" if self.turn.has("truncate") else "STOP"))
        self.wire.end_stream()

    def call(self, kind: str) -> Json:
        if kind == "read":
            return {"name": "read_file", "args": {"file_path": self.turn.path()}}
        command = {"command": self.turn.command(kind), "description": "fake tool call"}
        return {"name": "run_shell_command", "args": command}
