"""What gemini tells while it works on a prompt: ``session/update`` and the permissions it asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.backends.base import Paragraphs
from services.backends.lenient import items, mapping, text
from services.events import Event, Progress, Thinking, ToolResult, ToolUse

NO_EVENTS: tuple[Event, ...] = ()
MODE_UPDATE = "[MODE_UPDATE] "
"""Begins a piece of the answer that is not the model's, but gemini's word that its approval mode has changed."""

DECLINED = "declined: nobody is there to ask, and the approval mode does not allow it"


class Updates:
    """Turns updates into events, and knows what they add up to."""

    def __init__(self) -> None:
        self._paragraphs = Paragraphs()
        self._thought = False
        self._running: set[str] = set()
        self.turn_count = 1
        self.did_something = False

    @property
    def waits_for_tool(self) -> bool:
        """Whether a tool is at work: it may be silent for as long as it likes."""
        return bool(self._running)

    def receive(self, update: Mapping[str, Any]) -> Sequence[Event]:
        """The events of an update."""
        match update.get("sessionUpdate"):
            case "agent_message_chunk":
                return self._piece(text(mapping(update.get("content")).get("text")))
            case "agent_thought_chunk":
                return self._thinking(text(mapping(update.get("content")).get("text")))
            case "tool_call":
                return [self._tool_use(update)]
            case "tool_call_update":
                return [self._tool_result(update)]
        return NO_EVENTS

    def declined(self, tool_call: Mapping[str, Any]) -> Sequence[Event]:
        """The events of a tool for which gemini asked a permission that it does not get."""
        use = self._tool_use(tool_call)
        self._running.discard(use.tool_id)
        return [use, ToolResult(use.tool_id, DECLINED, is_error=True)]

    def _piece(self, piece: str) -> Sequence[Event]:
        if piece.startswith(MODE_UPDATE):
            return [Progress(f"approval mode: {piece.removeprefix(MODE_UPDATE)}")]
        self.did_something = True
        return self._paragraphs.text(piece)

    def _thinking(self, thought: str) -> Sequence[Event]:
        """A whole thought, ``**subject**`` and description."""
        thought = thought.removeprefix("****\n")
        if not thought.strip():
            return NO_EVENTS
        divided = self._thought
        self._thought = True
        return [Thinking("\n\n" + thought if divided else thought)]

    def _tool_use(self, call: Mapping[str, Any]) -> ToolUse:
        tool_id = text(call.get("toolCallId"))
        self._running.add(tool_id)
        self._paragraphs.new_message()
        self.did_something = True
        if not tool_id.endswith(("_1", "_2", "_3", "_4", "_5", "_6", "_7", "_8", "_9")):
            self.turn_count += 1
        return ToolUse(tool_id, tool_name(tool_id), _input(call))

    def _tool_result(self, update: Mapping[str, Any]) -> ToolResult:
        tool_id = text(update.get("toolCallId"))
        self._running.discard(tool_id)
        output = "\n".join(_shown(mapping(part)) for part in items(update.get("content")))
        return ToolResult(tool_id, output, is_error=update.get("status") == "failed")


def tool_name(tool_id: str) -> str:
    """The tool's name, which gemini tells only as part of the call's: ``name__name_<time>_<number>``."""
    twice = tool_id.rsplit("_", 2)[0]
    half = (len(twice) - 2) // 2
    if half > 0 and twice == f"{twice[:half]}__{twice[:half]}":
        return twice[:half]
    return tool_id.rsplit("-", 2)[0]


def _input(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """What gemini tells of a call's arguments: how it would show the call to a person."""
    title = text(call.get("title"))
    if call.get("kind") == "execute":
        return {"command": title}
    paths = [path for location in items(call.get("locations")) if (path := text(mapping(location).get("path")))]
    return {"title": title, "paths": paths} if paths else {"title": title}


def _shown(part: Mapping[str, Any]) -> str:
    if part.get("type") == "diff":
        return f"changed {text(part.get('path'))}"
    return text(mapping(part.get("content")).get("text"))
