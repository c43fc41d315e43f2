"""How many runs may go on at once, and who is next.

Slots are given first come, first served, but for owners who have as many as one may have: others go before them.  A
ticket waits without holding anything; whoever holds it is told by a callback and looks at :attr:`Ticket.granted`.
"""

import math
import threading
from collections import Counter, deque
from collections.abc import Callable

from services.errors import ClinvkError, ErrorCode

RESTART_S = 5
"""How long a server that stops is usually away."""
_SMOOTHING = 0.2  # weight of the newest run in the average duration


class Ticket:
    """A place in the queue, later a slot; :meth:`leave` gives up either.  Idempotent."""

    def __init__(self, slots: "Slots", wake: Callable[[], None], owner: str) -> None:
        self.owner = owner
        self.granted = False
        self.left = False
        self.wake = wake
        self._slots = slots

    def check(self) -> None:
        """Raises ClinvkError ``overloaded`` when it waits in vain: there will be no more slots."""
        if self.left and not self.granted:
            raise self._slots.no_more()

    def leave(self, duration_s: float | None = None) -> None:
        """Give the slot or the place back; the duration of the run, if one went on, improves the estimates."""
        self._slots._leave(self, duration_s)


class Slots:
    """``limit`` slots and a queue of at most ``max_queued`` tickets.  Safe to use from any thread.

    No owner has more than ``per_owner`` of the slots at once, 0 for as many as there are; "" is nobody in particular.
    """

    def __init__(self, limit: int, max_queued: int, per_owner: int = 0) -> None:
        self.limit = limit
        self._per_owner = per_owner or limit
        self._of_owner: Counter[str] = Counter()
        self._max_queued = max_queued
        self._active = 0
        self._queue: deque[Ticket] = deque()
        self._lock = threading.Lock()
        self._average_s = 1.0
        self._closed = ""

    @property
    def active(self) -> int:
        """Slots in use."""
        return self._active

    @property
    def queued(self) -> int:
        """Tickets that wait."""
        return len(self._queue)

    def enter(self, wake: Callable[[], None], owner: str = "") -> Ticket:
        """Take a slot, or the last place in the queue.  Raises ClinvkError ``overloaded`` when there is neither."""
        ticket = Ticket(self, wake, owner)
        with self._lock:
            if self._closed:
                raise self.no_more()
            if self._may_have_one(ticket):  # whoever waits although a slot is free may not have one
                self._grant(ticket)
            elif len(self._queue) < self._max_queued:
                self._queue.append(ticket)
            else:
                raise self.overloaded(f"{self._why_not()} and {len(self._queue)} requests wait")
        return ticket

    def _may_have_one(self, ticket: Ticket) -> bool:
        has_its_share = bool(ticket.owner) and self._of_owner[ticket.owner] >= self._per_owner
        return self._active < self.limit and not has_its_share

    def _grant(self, ticket: Ticket) -> None:
        self._active += 1
        self._of_owner[ticket.owner] += 1
        ticket.granted = True

    def _why_not(self) -> str:
        if self._active < self.limit:
            return f"all {self._per_owner} run slots that one key may have are taken"
        return f"all {self.limit} run slots are taken"

    def overloaded(self, reason: str) -> ClinvkError:
        """The error for a request that gets no slot, with an estimate of when one will be free."""
        retry_after_s = math.ceil(self._average_s * (len(self._queue) + 1) / self.limit)
        return ClinvkError(ErrorCode.OVERLOADED, f"the server is busy: {reason}", retry_after_s=max(1, retry_after_s))

    def no_more(self) -> ClinvkError:
        """The error for a request that comes or waits when the slots have been closed."""
        return ClinvkError(ErrorCode.OVERLOADED, self._closed, retry_after_s=RESTART_S)

    def close(self, reason: str) -> None:
        """Give no slot any more, and tell those who wait.  Who has one keeps it.  Idempotent."""
        with self._lock:
            self._closed = reason
            waiting = list(self._queue)
            self._queue.clear()
            for ticket in waiting:
                ticket.left = True
        for ticket in waiting:
            ticket.wake()

    def _leave(self, ticket: Ticket, duration_s: float | None) -> None:
        with self._lock:
            if ticket.left:
                return
            ticket.left = True
            if not ticket.granted:
                self._queue.remove(ticket)
                return
            if duration_s is not None:
                self._average_s += _SMOOTHING * (duration_s - self._average_s)
            self._active -= 1
            self._of_owner[ticket.owner] -= 1
            if not self._of_owner[ticket.owner]:
                del self._of_owner[ticket.owner]
            following = next(filter(self._may_have_one, self._queue), None)
            if following is not None:
                self._queue.remove(following)
                self._grant(following)
        if following is not None:
            following.wake()
