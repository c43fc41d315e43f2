"""The answer of a run, put together from what claude prints: each text twice, piece by piece and as a whole block."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from services.backends.base import Paragraphs
from services.backends.lenient import mapping, text
from services.events import Event, Thinking, ToolUse

NO_EVENTS: tuple[Event, ...] = ()


class Answer:
    """Passes everything on once, as early as it can, with a blank line between messages."""

    def __init__(self) -> None:
        self._paragraphs = Paragraphs()
        self._text = Streamed()
        self._thoughts = Streamed()
        self._message_id = ""
        self._continues = False
        self.said_anything = False

    def message_start(self, message_id: str) -> None:
        """A message begins to stream; what was begun before will not be completed."""
        self._text.clear()
        self._thoughts.clear()
        self._enter(message_id)

    def _enter(self, message_id: str) -> None:
        if message_id != self._message_id:
            self._message_id = message_id
            if not self._continues:
                self._paragraphs.new_message()
            self._continues = False

    def cut_off(self) -> None:
        """The message was cut off in the middle of a thought; the next one goes on from there."""
        self._continues = True

    def block_start(self, block: Mapping[str, Any]) -> None:
        """A content block begins to stream."""
        match block.get("type"):
            case "text":
                self._text.begin()
            case "thinking":
                self._thoughts.begin()

    def delta(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        """A piece of the block that streams."""
        match delta.get("type"):
            case "text_delta":
                piece = text(delta.get("text"))
                self._text.add(piece)
                return self._say(piece)
            case "thinking_delta":
                piece = text(delta.get("thinking"))
                self._thoughts.add(piece)
                return _think(piece)
        return NO_EVENTS

    def block(self, block: Mapping[str, Any], message_id: str) -> Sequence[Event]:
        """A whole content block, streamed before or not."""
        match block.get("type"):
            case "text":
                return self._whole_text(text(block.get("text")), message_id)
            case "thinking":
                whole, begun = text(block.get("thinking")), self._thoughts.take()
                return _think(whole[begun.length :] if begun.begins(whole) else whole)
            case "tool_use":
                return [tool_use(block)]
        return NO_EVENTS

    def _whole_text(self, whole: str, message_id: str) -> Sequence[Event]:
        """Say what is new of it.

        When a stream breaks off, claude asks again without one: the text then comes as another message, which may go on
        where the stream ended, or be a different one altogether.
        """
        begun = self._text.take()
        if begun.length and begun.begins(whole):
            self._message_id = message_id
            return self._say(whole[begun.length :])
        self._enter(message_id)
        if begun.length:
            self._paragraphs.new_message()
        return self._say(whole)

    def add(self, words: str) -> Sequence[Event]:
        """Words of claude's own, as a message."""
        self._paragraphs.new_message()
        return self._say(words)

    def _say(self, piece: str) -> Sequence[Event]:
        self.said_anything = self.said_anything or bool(piece)
        return self._paragraphs.text(piece)


@dataclass(slots=True)
class Beginning:
    """The beginning of a text: how long it is and its checksum, for it may be longer than memory should hold."""

    length: int = 0
    checksum: int = 0

    def add(self, piece: str) -> None:
        """The text goes on."""
        self.length += len(piece)
        self.checksum = crc32(piece.encode(), self.checksum)

    def begins(self, whole: str) -> bool:
        """Whether this text begins with it."""
        return crc32(whole[: self.length].encode()) == self.checksum


class Streamed:
    """What has been passed on of the blocks of one kind whose whole is still to come."""

    def __init__(self) -> None:
        self._blocks: deque[Beginning] = deque()

    def clear(self) -> None:
        """Forget blocks that will not be completed."""
        self._blocks.clear()

    def begin(self) -> None:
        """Another block begins."""
        self._blocks.append(Beginning())

    def add(self, piece: str) -> None:
        """A piece of the latest block has been passed on."""
        if not self._blocks:
            self.begin()
        self._blocks[-1].add(piece)

    def take(self) -> Beginning:
        """What has been passed on of the oldest open block, which is complete now."""
        return self._blocks.popleft() if self._blocks else Beginning()


def tool_use(block: Mapping[str, Any]) -> ToolUse:
    """The event of a ``tool_use`` block."""
    return ToolUse(text(block.get("id")), text(block.get("name")), mapping(block.get("input")))


def _think(piece: str) -> Sequence[Event]:
    return [Thinking(piece)] if piece else NO_EVENTS
