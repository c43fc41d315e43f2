"""What came of lines that a conversation was given, whichever CLI's they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.backends.base import Phase
from services.events import Done, Event, Failed, Message


@dataclass(frozen=True)
class Replay:
    """What came of a run's lines."""

    events: Sequence[Event]
    outcome: Done | Failed
    phase: Phase
    sent: bytes

    @property
    def output(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Message))

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]
