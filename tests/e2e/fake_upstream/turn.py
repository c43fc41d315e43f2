"""What a request asks, reduced to what the answer needs, whatever the provider."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.words import Words

Json = dict[str, Any]
CLI_TEXT = ("<system-reminder>", "<session_context>")
"""How texts begin that a CLI puts beside the user's."""
BEFORE = re.compile(r"\A(<(system-reminder|session_context)>.*?</\2>\s*)+(?=\S)", re.DOTALL)
"""The same where the user's stands in one text with them."""


@dataclass(slots=True)
class Turn:
    """One question to the model.

    ``prompt`` is the text of the latest user message; ``tool_result`` is there when the conversation ends with a
    tool's answer; ``user_texts`` are the texts of all user messages and ``history`` all messages as (role, text).
    """

    model: str
    prompt: str = ""
    turns: int = 0
    system: str = ""
    tool_result: str | None = None
    tools: tuple[str, ...] = ()
    effort: str = ""
    wants_json: bool = False
    history: tuple[tuple[str, str], ...] = ()
    always: str = ""
    words: Words = field(init=False)

    def __post_init__(self) -> None:
        self.words = Words(f"{self.prompt} {self.always}")

    def has(self, word: str) -> bool:
        return self.words.has(word)

    def wants_tool(self) -> str:
        """Which tool the model calls now: ``shell``, ``read`` or "" for none."""
        if self.has("loop"):
            return "shell"
        if self.tool_result is not None:
            return ""
        return "shell" if self.has("tool") else "read" if self.has("read") else ""

    def command(self, kind: str) -> str:
        """The shell command of the tool call."""
        if kind == "read":
            return f"cat {self.path()}"
        return self.words.text("cmd", "echo from-the-tool")

    def path(self) -> str:
        """The file to read."""
        return self.words.text("path", "/etc/hostname")

    def pieces(self) -> Iterator[str]:
        """The text deltas of the answer."""
        if self.has("json"):
            yield from ('{"answer":', ' "fake",', f' "turn": {self.turns}}}')
            return
        result = "" if self.tool_result is None else f" tool_result={self.tool_result[:200]!r}"
        yield f"fake turn={self.turns} chars={len(self.prompt)} model={self.model} sys={len(self.system)}{result} | "
        if self.has("big"):
            yield from big(int(self.words.number("size", 2_000_000)))
        else:
            yield from (f"w{number} " for number in range(self.count()))

    def count(self) -> int:
        """How many text deltas come after the first."""
        return int(self.words.number("n", 3))

    @property
    def input_tokens(self) -> int:
        return tokens(self.prompt)


def big(size: int, step: int = 20_000) -> Iterator[str]:
    """A long text; of numbered lines, because gemini stops on text that repeats ("Loop detected")."""
    line = "{:08d} {:012x} line of a long answer\n"
    body = "".join(line.format(number, number * 2654435761 % 2**48) for number in range(size // 40 + 1))
    return (body[place : min(place + step, size)] for place in range(0, size, step))


def tokens(text: str) -> int:
    return max(1, len(text) // 4)


def text_of(content: Any, kinds: tuple[str, ...] = ()) -> str:
    """Join the texts of a content field, a string or a list of typed parts, without what the CLI added itself."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    wanted = (part for part in content if (part.get("type") in kinds if kinds else "text" in part))
    texts = (BEFORE.sub("", part["text"]) for part in wanted)
    return "\n".join(text for text in texts if not text.startswith(CLI_TEXT))


def anthropic_turn(body: Json, always: str = "") -> Turn:
    messages = body.get("messages", [])
    users = [message for message in messages if message["role"] == "user"]

    def results(message: Json) -> list[Json]:
        parts = message["content"] if isinstance(message["content"], list) else []
        return [part for part in parts if part.get("type") == "tool_result"]

    asked = [message for message in users if not results(message)]
    tail = results(users[-1]) if users else []
    return Turn(
        model=body.get("model", ""),
        prompt=text_of(asked[-1]["content"], ("text",)) if asked else "",
        turns=len(asked),
        system=text_of(body.get("system"), ("text",)),
        tool_result="\n".join(text_of(part.get("content"), ("text",)) for part in tail) if tail else None,
        tools=tuple(str(tool.get("name")) for tool in body.get("tools") or []),
        wants_json=bool((body.get("output_config") or {}).get("format") or body.get("output_format")),
        history=tuple((message["role"], text_of(message["content"], ("text",))) for message in messages),
        always=always,
    )


def openai_tools(body: Json) -> Iterator[Json]:
    """The tools of a request; for some models codex has them among the messages, in namespaces."""
    yield from body.get("tools") or []
    for item in body.get("input") or []:
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            for tool in item["tools"]:
                yield from tool["tools"] if tool["type"] == "namespace" else [tool]


def openai_turn(body: Json, always: str = "") -> Turn:
    given = body.get("input") or []
    items: Sequence[Json] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    history = [
        (str(item["role"]), text_of(item.get("content"), ("input_text", "output_text", "text")))
        for item in items
        if item.get("role")
    ]
    # codex sends its environment and AGENTS.md as user messages in angle brackets
    asked = [text for role, text in history if role == "user" and not re.match(r"\s*(<\w+|# AGENTS\.md)", text)]
    developer = [text for role, text in history if role in ("developer", "system")]
    last = items[-1] if items else {}
    result = last.get("output") if str(last.get("type", "")).endswith("_call_output") else None
    return Turn(
        model=body.get("model", ""),
        prompt=asked[-1] if asked else "",
        turns=len(asked),
        system="\n".join([body.get("instructions") or "", *developer]),
        tool_result=text_of(result) if isinstance(result, list) else result,
        tools=tuple(str(tool.get("name") or tool.get("type")) for tool in openai_tools(body)),
        effort=(body.get("reasoning") or {}).get("effort") or "",
        wants_json=bool(((body.get("text") or {}).get("format") or {}).get("schema")),
        history=tuple(history),
        always=always,
    )


def chat_turn(body: Json, always: str = "") -> Turn:
    messages = body.get("messages") or []
    history = [(str(message["role"]), text_of(message.get("content"), ("text",))) for message in messages]
    asked = [text for role, text in history if role == "user"]
    return Turn(
        model=body.get("model", ""),
        prompt=asked[-1] if asked else "",
        turns=len(asked),
        system="\n".join(text for role, text in history if role in ("system", "developer")),
        tool_result=history[-1][1] if history and history[-1][0] == "tool" else None,
        tools=tuple(str(tool["function"]["name"]) for tool in body.get("tools") or []),
        wants_json=bool(body.get("response_format")),
        history=tuple(history),
        always=always,
    )


def gemini_turn(body: Json, model: str, always: str = "") -> Turn:
    contents = body.get("contents") or []
    users = [content for content in contents if content.get("role", "user") == "user"]

    def results(content: Json) -> list[Json]:
        return [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]

    asked = [text for content in users if not results(content) and (text := text_of(content["parts"]))]
    tail = results(contents[-1]) if contents else []
    config = body.get("generationConfig") or {}
    declared = (tool.get("functionDeclarations") or [] for tool in body.get("tools") or [])
    return Turn(
        model=model,
        prompt=asked[-1] if asked else "",
        turns=len(asked),
        system=text_of((body.get("systemInstruction") or {}).get("parts")),
        tool_result=json.dumps([result.get("response") for result in tail]) if tail else None,
        tools=tuple(function["name"] for functions in declared for function in functions),
        wants_json=config.get("responseMimeType") == "application/json",
        history=tuple((content.get("role", "user"), text_of(content["parts"])) for content in contents),
        always=always,
    )
