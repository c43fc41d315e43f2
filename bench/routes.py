"""The three routes that run a prompt: how it is asked there, and how a piece of text looks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PROMPT = "/api/v1/prompt"
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, whatever the route.  ``model`` "" is the backend's own default."""

    text: str
    backend: str = "claude"
    model: str = ""
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A route.  ``mark`` stands once in what a stream writes for each piece of text."""

    name: str
    path: str
    body: Callable[[Question], Body]
    mark: bytes
    pieces: str
    """What the pieces of its streams are called."""


def native(question: Question) -> Body:
    """A request of the native API that keeps no session."""
    body = {
        "backend": question.backend,
        "prompt": question.text,
        "ephemeral": True,
        "output_format": "stream-json" if question.stream else "json",
    }
    return body | ({"model": question.model} if question.model else {})


def chat(question: Question) -> Body:
    """A request that both dialects take."""
    return {
        "model": f"{question.backend}/{question.model}" if question.model else question.backend,
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": question.text}],
        "stream": question.stream,
    }


def fake(words: str = "", *, stream: bool = False) -> Question:
    """A prompt for the fake CLI; ``words`` say what it does."""
    return Question(f"bench {words}", stream=stream)


NATIVE = Route("native", PROMPT, native, b'"type":"message"', "NDJSON events")
OPENAI = Route("OpenAI", "/openai/v1/chat/completions", chat, b'"delta":{"content":', "OpenAI chunks")
ANTHROPIC = Route("Anthropic", "/anthropic/v1/messages", chat, b'"type":"text_delta"', "Anthropic deltas")
ROUTES = (NATIVE, OPENAI, ANTHROPIC)
