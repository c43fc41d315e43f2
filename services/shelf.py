"""Which processes wait for a prompt: what fits whom, and who has to go.  Bookkeeping alone, nothing is started here."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Shelved(Protocol):
    """What lies on a shelf."""

    @property
    def key(self) -> Hashable:
        """What it fits: things with equal keys are interchangeable."""

    @property
    def group(self) -> str:
        """What it counts as, where a group has a limit of its own."""

    @property
    def idle_s(self) -> float | None:
        """How long it may wait without use; None for as long as any."""


T = TypeVar("T", bound=Shelved)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a shelf holds: in all, of each group that is named in ``groups``, and for how long without use."""

    total: int
    idle_s: float
    groups: dict[str, int] = field(default_factory=dict)

    def of(self, group: str) -> int:
        """How many of a group there may be."""
        return min(self.total, self.groups.get(group, self.total))


class Shelf(Generic[T]):
    """Things that wait, the least recently used first.

    A key is used when something is taken for it, or put there.  Not to be used from several threads at once.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._by_key: dict[Hashable, list[T]] = {}  # in the order of their last use
        self._used_s: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    def __iter__(self) -> Iterator[T]:
        """All of them, those that were used least recently first, of one key the oldest first."""
        return iter([item for items in self._by_key.values() for item in items])

    def take(self, key: Hashable, now_s: float) -> T | None:
        """The one that has waited longest for this key, and is therefore readiest; None when there is none."""
        items = self._by_key.get(key)
        if not items:
            return None
        item = items.pop(0)
        self._touch(key, now_s)
        return item

    def put(self, item: T, now_s: float) -> None:
        """Let it wait; :meth:`room_for` has been asked."""
        self._by_key.setdefault(item.key, []).append(item)
        self._touch(item.key, now_s)

    def _touch(self, key: Hashable, now_s: float) -> None:
        items = self._by_key.pop(key)
        if items:
            self._by_key[key] = items
            self._used_s[key] = now_s
        else:
            self._used_s.pop(key, None)

    def room_for(self, key: Hashable, group: str) -> tuple[bool, list[T]]:
        """Whether one more may wait for this key, and what has to go for it; these are taken off.

        Nothing goes for its like: where all that could go has the same key, there is no room.
        """
        most = self._bounds.of(group)
        if most < 1:
            return False, []
        gone: list[T] = []
        while (of_group := self._count(group)) >= most or len(self) >= self._bounds.total:
            may_go = (item for item in self if item.key != key and (of_group < most or item.group == group))
            victim = next(may_go, None)
            if victim is None:
                return False, gone
            self.remove(victim)
            gone.append(victim)
        return True, gone

    def _count(self, group: str) -> int:
        return sum(item.group == group for item in self)

    def remove(self, item: T) -> bool:
        """Take it off; whether it was there."""
        items = self._by_key.get(item.key, [])
        if item not in items:
            return False
        items.remove(item)
        if not items:
            del self._by_key[item.key]
            self._used_s.pop(item.key, None)
        return True

    def oldest(self) -> T | None:
        """Take off what was used least recently; None when nothing waits."""
        item = next(iter(self), None)
        if item is not None:
            self.remove(item)
        return item

    def overdue(self, now_s: float) -> list[T]:
        """Take off what has not been used for too long."""
        late = [item for item in self if self._due_s(item) <= now_s]
        for item in late:
            self.remove(item)
        return late

    def next_due_s(self) -> float | None:
        """When something will be overdue; None when nothing waits."""
        return min(map(self._due_s, self), default=None)

    def _due_s(self, item: T) -> float:
        return self._used_s[item.key] + (self._bounds.idle_s if item.idle_s is None else item.idle_s)

    def clear(self) -> list[T]:
        """Take everything off."""
        all_of_it = list(self)
        self._by_key.clear()
        self._used_s.clear()
        return all_of_it
