"""Stop sequences, for CLIs that have none: our side of the answer is cut, and the run ended.

A text is cut where the first stop sequence is complete, as a model that generates it would have stopped, in whatever
pieces it comes.  Of several that are complete at the same place the longest counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from services.estimate import Tally
from services.events import Done, Event, Message, Outcome, Thinking, TokenUsage, Usage
from services.run import Result
from services.running import Around, Running

CANCELED = "a stop sequence was said"


class Cutter:
    """Cuts a text that comes in pieces.  It holds back only what may be the beginning of a stop sequence."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(dict.fromkeys(filter(None, stops)))
        self._firsts = {stop[0] for stop in self._stops}
        self._most_held = max(map(len, self._stops), default=1) - 1
        self._held = ""

    def feed(self, piece: str) -> tuple[str, str]:
        """Take a piece: the text to pass on, and the stop sequence that ended it, "" while none has."""
        text = self._held + piece if self._held else piece
        ends = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            _, at, stop = min(ends)
            self._held = ""
            return text[:at], stop
        begins = self._begins(text)
        self._held = text[begins:]
        return text[:begins], ""

    def rest(self) -> str:
        """The text has ended: what was held back after all belongs to it."""
        held, self._held = self._held, ""
        return held

    def _begins(self, text: str) -> int:
        """Where a stop sequence may have begun that the text does not complete; the end where none has."""
        tail = max(0, len(text) - self._most_held)
        found = [at for first in self._firsts if (at := self._begins_with(first, text, tail)) >= 0]
        return min(found, default=len(text))

    def _begins_with(self, first: str, text: str, tail: int) -> int:
        at = text.find(first, tail)
        while at >= 0:
            begun = text[at:]
            if any(stop.startswith(begun) for stop in self._stops):
                break
            at = text.find(first, at + 1)
        return at


class StopAt(Around):
    """A run whose text ends at a stop sequence.

    Everything is passed on as it comes; a piece of text may stay back behind other events while it may still begin a
    stop sequence.  Once one is said the run is ended, and its outcome is ``Done`` with the tokens that were counted
    until then; what was not counted is estimated, of the input by ``input_tokens``.
    """

    def __init__(self, run: Running, stops: Sequence[str], *, input_tokens: int = 0) -> None:
        super().__init__(run)
        self._cutter = Cutter(stops)
        self._input_tokens = input_tokens
        self._said = Tally()
        self._counted = TokenUsage()

    def batches(self) -> Iterator[Sequence[Event]]:
        """The events as they come, up to a stop sequence."""
        batches = self._run.batches()
        for batch in batches:
            if not batch:
                yield batch
                continue
            events, stop = self._passed_on(batch)
            if not stop:
                if events:  # an empty batch would be a heartbeat
                    yield events
                continue
            outcome = batch[-1]
            if not isinstance(outcome, Outcome):
                if events:
                    yield events
                    events = []
                outcome = self._ended(batches)
            yield [*events, self._stopped(outcome, stop)]
            return

    def _passed_on(self, batch: Sequence[Event]) -> tuple[list[Event], str]:
        """What of a batch is passed on, and the stop sequence that ended it."""
        passed: list[Event] = []
        for event in batch:
            if isinstance(event, Message):
                text, stop = self._cutter.feed(event.text)
                if text:
                    self._said.add(text)
                    passed.append(event if text == event.text else Message(text))
                if stop:
                    return passed, stop
                continue
            if isinstance(event, Outcome) and (rest := self._cutter.rest()):
                passed.append(Message(rest))
            elif isinstance(event, Thinking):
                self._said.add(event.text)
            elif isinstance(event, Usage):
                self._counted = event.usage
            passed.append(event)
        return passed, ""

    def _ended(self, batches: Iterator[Sequence[Event]]) -> Outcome:
        """End the run and hear how it ended; nothing else of it matters any more."""
        self._run.cancel(CANCELED)
        outcome: Outcome = Done(usage=self._counted)
        for batch in batches:
            for event in batch:
                if isinstance(event, Usage):
                    self._counted = event.usage
                elif isinstance(event, Outcome):
                    outcome = event
        return outcome

    def _stopped(self, outcome: Outcome, stop: str) -> Done:
        """The outcome of a text that a stop sequence has ended, in the place of how its run has ended."""
        if isinstance(outcome, Done) and outcome.usage.output_tokens:
            return replace(outcome, stop_reason="stop_sequence", stop_sequence=stop)
        usage = outcome.usage if outcome.usage != TokenUsage() else self._counted
        whole = replace(
            usage,
            input_tokens=usage.input_tokens or self._input_tokens,
            output_tokens=max(usage.output_tokens, self._said.tokens),
        )
        return Done(
            whole,
            outcome.cost_usd,
            stop_reason="stop_sequence",
            stop_sequence=stop,
            usage_estimated=whole != usage,
        )

    def collect(self) -> Result:
        """Run to the end, or to a stop sequence."""
        pieces: list[str] = []
        outcome: Outcome | None = None
        for batch in self.batches():
            for event in batch:
                if isinstance(event, Message):
                    pieces.append(event.text)
                elif isinstance(event, Outcome):
                    outcome = event
        assert outcome is not None
        return Result("".join(pieces), outcome, self.duration_ms)
