"""A point in time by which something must have happened."""

import time
from dataclasses import dataclass
from math import inf
from typing import Self


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """A moment on the monotonic clock; the default never comes."""

    at_s: float = inf

    @classmethod
    def after(cls, seconds: float) -> Self:
        """The deadline this many seconds from now; 0 or less means none."""
        return cls(time.monotonic() + seconds) if seconds > 0 else cls()

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is too late."""
        return time.monotonic() >= self.at_s
