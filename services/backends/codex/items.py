"""The items of a codex thread, read as events."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.backends.lenient import items, mapping, text
from services.events import Event, ToolResult, ToolUse

Item = Mapping[str, Any]


def tool_use(item: Item) -> ToolUse | None:
    """The call of a tool that an item begins, if it is one that is known when it begins."""
    kind = text(item.get("type"))
    return None if kind in KNOWN_LATE else _call(kind, item)


def tool_result(item: Item) -> Sequence[Event]:
    """What a completed item tells of a tool."""
    kind = text(item.get("type"))
    call = _call(kind, item)
    if call is None:
        return ()
    output, failed = RESULTS.get(kind, _status)(item)
    result = ToolResult(call.tool_id, output, failed)
    return (call, result) if kind in KNOWN_LATE else (result,)


def _call(kind: str, item: Item) -> ToolUse | None:
    call_id, tool = text(item.get("id")), text(item.get("tool"))
    match kind:
        case "mcpToolCall":
            return ToolUse(call_id, f"mcp__{text(item.get('server'))}__{tool}", mapping(item.get("arguments")))
        case "dynamicToolCall":
            return ToolUse(call_id, tool, mapping(item.get("arguments")))
        case "collabAgentToolCall":
            return ToolUse(call_id, tool, _fields(item, ("prompt", "model", "receiverThreadIds")))
    if kind not in TOOLS:
        return None
    name, fields = TOOLS[kind]
    return ToolUse(call_id, name, _fields(item, fields))


def _fields(item: Item, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: item[name] for name in names if item.get(name)}


TOOLS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "commandExecution": ("command_execution", ("command", "cwd")),
    "fileChange": ("file_change", ("changes",)),
    "webSearch": ("web_search", ("query", "action")),
    "imageView": ("image_view", ("path",)),
    "imageGeneration": ("image_generation", ("revisedPrompt",)),
}
"""codex's own tools: the name, as ``codex exec --json`` has it, and what of the item is the input."""

KNOWN_LATE = {"webSearch", "imageView", "imageGeneration"}
"""Items that say what they are about only when they are completed."""


def _status(item: Item) -> tuple[str, bool]:
    status = text(item.get("status"))
    return status, status in ("failed", "declined", "interrupted")


def _command_result(item: Item) -> tuple[str, bool]:
    status, failed = _status(item)
    output = item.get("aggregatedOutput")
    return (output if isinstance(output, str) else status), failed or item.get("exitCode") not in (0, None)


def _mcp_result(item: Item) -> tuple[str, bool]:
    _, failed = _status(item)
    problem = text(mapping(item.get("error")).get("message"))
    return problem or _texts(mapping(item.get("result")).get("content")), failed or bool(problem)


def _dynamic_result(item: Item) -> tuple[str, bool]:
    return _texts(item.get("contentItems")), item.get("success") is not True


def _texts(content: object) -> str:
    return "\n".join(filter(None, (text(mapping(part).get("text")) for part in items(content))))


RESULTS: Mapping[str, Callable[[Item], tuple[str, bool]]] = {
    "commandExecution": _command_result,
    "mcpToolCall": _mcp_result,
    "dynamicToolCall": _dynamic_result,
}
"""How to read what a tool answered, where it is more than a status: the output, and whether it failed."""
