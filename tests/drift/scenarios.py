"""What is asked of a CLI through the server, and of each answer what must be the same with every version.

A scenario takes a :class:`Talk` and gives an answer as JSON; it may raise AssertionError, KeyError and the like when
it cannot be played to its end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tests.drift.recording import Json
from tests.e2e.conversing import Cli, deleted, forked, only
from tests.e2e.fake_upstream import ModelServer
from tests.support.server import Server

UNTIMED = {"init", "message", "thinking", "tool_use", "tool_result", "done", "error"}
"""Events whose order is the CLI's; the others come by the clock, or whenever something was counted."""
WITH_TOOLS: Mapping[str, Mapping[str, Any]] = {
    "claude": {"extra": ["--allowed-tools", "Bash"]},
    "codex": {},
    "gemini": {"approval_mode": "none"},
}
"""What lets a CLI run a harmless command unasked."""
TOOL_SAYS = "from-the-tool"
"""What the command prints."""
SYSTEM = "be a pirate, 7718"


@dataclass(frozen=True, slots=True)
class Talk:
    """A CLI behind a server, and the model server that it asks."""

    cli: Cli
    server: Server
    model_server: ModelServer

    def streamed(self, prompt: str, **fields: Any) -> Json:
        """The answer to a prompt, from its stream of events."""
        return reduced(self.cli.events(self.server, prompt, **fields))

    def failed(self, words: str, **fields: Any) -> Json:
        """The code of a failure."""
        answer = self.cli.ask(self.server, f"hello {words}", **fields)
        return {name: answer.get(name) for name in ("exit_code", "error_code", "output")}

    def asked(self) -> list[str]:
        """The prompts of the conversation that the model was asked last."""
        return self.cli.prompts_seen(self.model_server)

    def reached_the_model(self, text: str) -> bool:
        """Whether a text was in what the model was asked last."""
        return text.encode() in self.model_server.asked()[-1].body


def reduced(events: list[Mapping[str, Any]]) -> Json:
    """What must not change in a stream of events."""
    *_, last = events
    done = last["content"]
    return {
        "events": [kind for kind, _ in groupby(event["type"] for event in events if event["type"] in UNTIMED)],
        "text": "".join(part["text"] for part in only(events, "message")),
        "thinking": bool(only(events, "thinking")),
        "tools": [use["tool_name"] for use in only(events, "tool_use")],
        "results": [
            {"failed": one["is_error"], "told": TOOL_SAYS in one["output"]} for one in only(events, "tool_result")
        ],
        "token_usage": done.get("token_usage"),
        "session": bool(last.get("session_id")),
        "exit_code": done.get("exit_code"),
        "error_code": done.get("code"),
    }


def answer(talk: Talk) -> Json:
    whole = talk.cli.ask(talk.server, "hello")
    fields = ("output", "exit_code", "token_usage", "cost_usd")
    return {name: whole.get(name) for name in fields} | {"fields": sorted(whole), "asked": talk.asked()}


def text(talk: Talk) -> Json:
    return talk.streamed("hello FAKE:n=6")


def ephemeral(talk: Talk) -> Json:
    return talk.streamed("hello", ephemeral=True)


def system_prompt(talk: Talk) -> Json:
    return {**talk.streamed("hello", system_prompt=SYSTEM), "reached": talk.reached_the_model(SYSTEM)}


def append_system_prompt(talk: Talk) -> Json:
    return {**talk.streamed("hello", append_system_prompt=SYSTEM), "reached": talk.reached_the_model(SYSTEM)}


def thinking(talk: Talk) -> Json:
    return talk.streamed("hello FAKE:think")


def tool(talk: Talk) -> Json:
    return talk.streamed("hello FAKE:tool", **WITH_TOOLS[talk.cli.backend])


def max_tokens(talk: Talk) -> Json:
    return talk.streamed("hello FAKE:truncate", max_tokens=99)


def resume(talk: Talk) -> Json:
    session_id = talk.cli.begun(talk.server, "one")
    return {**talk.streamed("two", session_id=session_id), "asked": talk.asked()}


def fork(talk: Talk) -> Json:
    original = talk.cli.begun(talk.server, "one")
    copy = forked(talk.server, original)
    went_on = {**talk.streamed("two of the copy", session_id=copy), "asked": talk.asked()}
    talk.cli.continued(talk.server, original, "two")
    return {**went_on, "asked_of_the_original": talk.asked()}


def forget(talk: Talk) -> Json:
    return {"deleted": deleted(talk.server, talk.cli.begun(talk.server, "one"))}


def chat(talk: Talk) -> Json:
    """As a model, with turns that the CLI has never seen, over the OpenAI dialect."""
    turns = [("system", SYSTEM), ("user", "one"), ("assistant", "first"), ("user", "two")]
    body = {
        "model": "/".join((talk.cli.backend, talk.cli.fields["model"])) if talk.cli.fields else talk.cli.backend,
        "messages": [{"role": role, "content": content} for role, content in turns],
    }
    response = talk.server.client.post("/openai/v1/chat/completions", body)
    assert response.status == 200, response.text
    (choice,) = response.json()["choices"]
    turn = talk.model_server.turns()[-1]
    return {
        "text": choice["message"]["content"],
        "finish_reason": choice["finish_reason"],
        "usage": response.json()["usage"],
        "asked": talk.asked(),
        "system": turn.system,
        "tools": sorted(turn.tools),
    }


def stopped(talk: Talk) -> Json:
    """The client goes away in mid-stream, and with it the CLI and all that it started."""
    with talk.cli.stream(talk.server, "hello FAKE:n=200 FAKE:delay=0.1") as exchange:
        began = next(event["type"] for event in exchange.events() if event["type"] == "message")
        exchange.vanish()
    talk.server.wait_until_idle(30.0)
    return {"began": began}


def _failing(words: str, **fields: Any) -> Callable[[Talk], Json]:
    return lambda talk: talk.failed(words, **fields)


CUT_SHORT = {"max-tokens", "stopped"}
"""Scenarios in which clinvk interrupts the CLI, whose last lines depend on the moment: only the answer is kept."""

SCENARIOS: Mapping[str, Callable[[Talk], Json]] = {
    "answer": answer,
    "text": text,
    "ephemeral": ephemeral,
    "system-prompt": system_prompt,
    "append-system-prompt": append_system_prompt,
    "thinking": thinking,
    "tool": tool,
    "max-tokens": max_tokens,
    "resume": resume,
    "fork": fork,
    "forget": forget,
    "chat": chat,
    "error-401": _failing("FAKE:401"),
    "error-429": _failing("FAKE:429"),
    "error-500": _failing("FAKE:500"),
    "error-503": _failing("FAKE:503"),
    "too-long": _failing("FAKE:toolong"),
    "unknown-model": _failing("", model="no-such-model"),
    "dropped": _failing("FAKE:drop FAKE:n=6 FAKE:delay=0.1"),
    "stopped": stopped,
}
