"""The backend ``demo``: a small program of ours that needs no account and says that it is no AI."""

import sys
from collections.abc import Sequence

import orjson

from services.backends.base import Backend, Conversation, Options, Phase, Spawn
from services.backends.login import Login, LoginCheck
from services.demo import PROGRAM
from services.demo.program import VERSION
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Message, StopReason, TokenUsage, Usage

BARE = ("-I", "-S")
"""The interpreter without the user's site packages and environment: half the time to start."""


class DemoBackend(Backend):
    """Every option travels with the prompt, so that any process started in advance will do."""

    name = "demo"
    owner = "clinvk"
    executable = sys.executable
    install_hint = "it comes with the server"
    version_args = (*BARE, PROGRAM, "--version")
    tested_version = VERSION
    login_check = LoginCheck(lambda _: Login(True, "it needs none"))

    def spawn(self, options: Options) -> Spawn:
        """The same process for all prompts."""
        warnings = tuple(
            f"{name}: the demo has no tools and takes one turn"
            for name in ("approval_mode", "sandbox_mode", "max_turns", "allowed_tools")
            if getattr(options, name) not in ("default", 0, None, ())
        )
        argv = (self.executable, *BARE, PROGRAM)
        return Spawn(argv=argv, cwd=options.workdir, warnings=warnings)

    def conversation(self, options: Options, prompt: str) -> Conversation:
        """A conversation of one line and its answer."""
        return DemoConversation(options, prompt)


class DemoConversation(Conversation):
    """One line of JSON goes out; lines of JSON come in."""

    def __init__(self, options: Options, prompt: str) -> None:
        super().__init__()
        system = "\n\n".join(filter(None, (options.system_prompt, options.append_system_prompt)))
        self._asked = {
            "prompt": prompt, "model": options.model, "system": system, "max_tokens": options.max_tokens,
        }  # fmt: skip
        self._usage = TokenUsage()
        self._stop: StopReason = "end_turn"

    def start(self) -> None:
        """Queue the one line there is to send."""
        self.send(orjson.dumps(self._asked) + b"\n")
        self.stdin_done = True

    def receive(self, line: bytes) -> Sequence[Event]:
        """Take one line of the program's."""
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return ()
        match value:
            case {"type": "text", "text": str(text)} if text:
                return (Message(text),)
            case {"type": "ready", "model": str(model)}:
                return (Init(model=model),)
            case {"type": "end", "stop": str(stop), "usage": {"input": int(asked), "output": int(said)}}:
                self.phase = Phase.SETTLED
                self._usage = TokenUsage(asked, said)
                self._stop = "max_tokens" if stop == "max_tokens" else "end_turn"
                return (Usage(self._usage),)
            case _:
                return ()

    def finish(self, exit_code: int, stderr_tail: str) -> Done | Failed:
        """Done when the program said that it was at its end."""
        if exit_code == 0 and self.phase is Phase.SETTLED:
            return Done(self._usage, cost_usd=0.0, stop_reason=self._stop)
        message = f"the demo ended before its answer did (exit code {exit_code}) {stderr_tail}".rstrip()
        code = 128 - exit_code if exit_code < 0 else exit_code or 1
        return Failed(ErrorCode.BACKEND_FAILED, message, code, self._usage)
