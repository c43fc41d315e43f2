"""Clients that are commands: one process for each question, ended by a signal when the answer is to be left."""

import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from tests.e2e import clis
from tests.e2e.clients.programs.serving import ENOUGH, End, Question
from tests.e2e.clients.talking import Failure, Reply, nothing, patience

CLAUDE_CODE_ONCE = {"CLAUDE_CODE_MAX_RETRIES": "0", "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1"}
"""Without these it sends again, for minutes, what was overloaded, and, once, what failed in the middle of a stream."""


class Command(ABC):
    """A command that prints an answer and ends, with another exit code than 0 when it failed."""

    def __init__(self, server: str, environment: Mapping[str, str], folder: Path, models: Sequence[str]) -> None:
        self.server = server
        self.environment = dict(environment)
        self.folder = folder
        self.models = models
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Do what its user does once."""

    @abstractmethod
    def arguments(self, question: Question) -> list[str]:
        """The command line."""

    def variables(self, question: Question) -> Mapping[str, str]:
        """What is added to the environment for a question."""
        return {}

    def stdin(self, question: Question) -> bytes:
        return b""

    def read(self, line: bytes, reply: Reply) -> None:
        """Take in something that it printed: a line, or, of a stream of text, a piece."""
        reply.add(line.decode())

    def ask(self, question: Question, before_leaving: Callable[[], None] = nothing) -> Reply:
        reply, leaves = Reply(), False
        process = subprocess.Popen(
            self.arguments(question),
            cwd=self.folder,
            env={**self.environment, **self.variables(question)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        with process, patience(process):
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(self.stdin(question))
            process.stdin.close()
            while data := process.stdout.read(1 << 16):
                self.read(data, reply)
                if question.how == "leave" and len(reply.pieces) >= ENOUGH and not leaves:
                    before_leaving()
                    process.terminate()  # not SIGINT, which a background job ignores
                    leaves = True
            said = process.stderr.read().decode()
            process.wait()
        if leaves:
            reply.left_s = time.monotonic()
        if process.returncode and not leaves and reply.error is None:
            reply.error = Failure((), 0, said + reply.text)
        if reply.end is None:
            reply.end = End()
        return reply

    def close(self) -> None:  # noqa: B027 - not abstract: right for all of them
        """Nothing of it runs between two questions."""


class Llm(Command):
    """Simon Willison's ``llm``, with the models of the server in its ``extra-openai-models.yaml``."""

    def prepare(self) -> None:
        place = {"api_base": f"{self.server}/openai/v1", "api_key_name": "clinvk"}
        models = [{"model_id": name, "model_name": name, **place} for name in self.models]
        (self.folder / "extra-openai-models.yaml").write_text(yaml.safe_dump(models))
        self.environment["LLM_USER_PATH"] = str(self.folder)

    def arguments(self, question: Question) -> list[str]:
        program = str(Path(sys.executable).with_name("llm"))
        once = ["--no-stream"] if question.how == "plain" else []
        return [
            program, *once, "--no-log", "--key", question.key, "--model", question.model, "--system", question.system,
            question.text,
        ]  # fmt: skip


class ClaudeCode(Command):
    """Claude Code, which sends its prompt to the server as if it were the provider; ``tools`` are those it offers."""

    tools = ""

    def prepare(self) -> None:
        self.environment |= clis.provider_environment(f"{self.server}/anthropic")
        self.environment |= CLAUDE_CODE_ONCE
        self._rest = b""

    def variables(self, question: Question) -> Mapping[str, str]:
        return {"ANTHROPIC_API_KEY": question.key}

    def stdin(self, question: Question) -> bytes:
        self._rest = b""
        return question.text.encode()

    def arguments(self, question: Question) -> list[str]:
        return [
            str(clis.BIN / "claude"), "--print", "--verbose", "--output-format", "stream-json",
            *(["--include-partial-messages"] if question.how != "plain" else []),
            "--no-session-persistence", "--model", question.model, "--system-prompt", question.system,
            "--tools", self.tools,
        ]  # fmt: skip

    def read(self, line: bytes, reply: Reply) -> None:
        *whole, self._rest = (self._rest + line).split(b"\n")
        for text in whole:
            self.event(text, reply)

    @staticmethod
    def event(line: bytes, reply: Reply) -> None:
        """Take in one event; a plain answer is in the result, a stream in the deltas before it."""
        match json.loads(line):
            case {"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"text": text}}}:
                reply.add(text)
            case {"type": "result", "is_error": True, "result": message} as result:
                reply.error = Failure((), result.get("api_error_status") or 0, message)
            case {"type": "result", "result": text, "usage": usage} as result:
                if not reply.pieces:
                    reply.add(text)
                reply.end = End(result.get("stop_reason") or "", usage["input_tokens"], usage["output_tokens"])
