"""The tokens of a run."""

from collections.abc import Mapping
from typing import Any

from services.backends.lenient import count, mapping
from services.events import TokenUsage


class Meter:
    """Counts the tokens of one run: codex counts those of a thread, with the turns of earlier runs.

    A thread was ``resumed`` or began at nothing.  Only its total is to be relied on: of an answer that was cut short,
    codex adds the tokens there but tells of none in ``last``.
    """

    def __init__(self, *, resumed: bool) -> None:
        self._resumed = resumed
        self._before: dict[str, TokenUsage] = {}
        self._now: dict[str, TokenUsage] = {}

    def set_out(self, thread_id: str, tokens: Mapping[str, Any]) -> None:
        """A thread stood so before the run."""
        self._before[thread_id] = _usage_of(tokens.get("total"))

    def count(self, thread_id: str, tokens: Mapping[str, Any]) -> None:
        """A thread stands so now."""
        self._now[thread_id] = _usage_of(tokens.get("total"))
        if thread_id not in self._before:
            last = _usage_of(tokens.get("last"))
            self._before[thread_id] = self._now[thread_id] - last if self._resumed else TokenUsage()

    @property
    def usage(self) -> TokenUsage:
        """What the run has used so far, the helpers of the agent included."""
        return sum((now - self._before[thread_id] for thread_id, now in self._now.items()), TokenUsage())


def _usage_of(breakdown: object) -> TokenUsage:
    """Tokens as codex counts them: the input with what was cached, the output with the reasoning."""
    counted = mapping(breakdown)
    return TokenUsage(
        input_tokens=count(counted.get("inputTokens")),
        output_tokens=count(counted.get("outputTokens")),
        cached_tokens=count(counted.get("cachedInputTokens")),
        cache_write_tokens=count(counted.get("cacheWriteInputTokens")),
        reasoning_tokens=count(counted.get("reasoningOutputTokens")),
    )
