"""A bounded channel from many threads to one, which either end may close."""

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Channel(Generic[Item]):
    """At most ``capacity`` items wait in it; who puts more waits, so that a slow taker slows the givers."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> None:
        """Add an item, waiting for room; drop it once the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()

    def get(self, timeout_s: float) -> Item | None:
        """Take the next item, waiting for it; None when none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._items), timeout_s):
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Let nobody wait any longer to put something in."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
