"""The text of codex's answer and of its thoughts, put together from their pieces."""

from collections.abc import Sequence

from services.backends.base import Paragraphs
from services.events import Event, Thinking

NO_EVENTS: tuple[Event, ...] = ()


class Answer:
    """The messages of a turn, each piece of text once.

    When the provider's stream breaks off in the middle of a message, codex asks again and the message begins anew.
    What is repeated word for word is not said twice; a message that goes another way is said whole, as a new one.
    """

    def __init__(self) -> None:
        self._paragraphs = Paragraphs()
        self._item_id = ""
        self._pieces: list[str] = []
        self._lost = ""
        self._repeated = 0

    def delta(self, item_id: str, text: str) -> Sequence[Event]:
        """The next piece of a message."""
        if item_id != self._item_id:
            self._begin(item_id)
        self._pieces.append(text)
        return self._again(text) if self._lost else self._paragraphs.text(text)

    def completed(self, item_id: str, text: str) -> Sequence[Event]:
        """The whole message: what of it has not been said yet."""
        if item_id != self._item_id:
            self._begin(item_id)
        said = "".join(self._pieces)
        events = self.delta(item_id, text[len(said) :]) if text.startswith(said) else NO_EVENTS
        self._item_id, self._pieces = "", []
        self.move_on()
        return events

    def break_off(self) -> None:
        """The message now being written is lost, and will be written again."""
        text = "".join(self._pieces)
        if len(text) > len(self._lost):
            self._lost = text
        self._item_id, self._pieces, self._repeated = "", [], 0

    def move_on(self) -> None:
        """No lost message comes again."""
        self._lost, self._repeated = "", 0

    def _begin(self, item_id: str) -> None:
        self._item_id, self._pieces = item_id, []
        if not self._lost:
            self._paragraphs.new_message()

    def _again(self, text: str) -> Sequence[Event]:
        if self._lost.startswith(text, self._repeated):
            self._repeated += len(text)
            return NO_EVENTS
        lost, whole = self._lost, "".join(self._pieces)
        self.move_on()
        if whole.startswith(lost):
            return self._paragraphs.text(whole[len(lost) :])
        self._paragraphs.new_message()
        return self._paragraphs.text(whole)


class Thoughts:
    """The model's reasoning, its parts divided by blank lines."""

    def __init__(self) -> None:
        self._part: object = None

    def delta(self, part: object, text: str) -> Sequence[Event]:
        """The next piece of a part."""
        if not text:
            return NO_EVENTS
        divided = self._part is not None and part != self._part
        self._part = part
        return [Thinking("\n\n" + text if divided else text)]
