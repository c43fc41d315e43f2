"""The tokens of a run, as claude tells them bit by bit and at the end."""

from collections.abc import Mapping
from typing import Any

from services.backends.lenient import count, mapping
from services.events import TokenUsage

NONE = TokenUsage()


def token_usage(usage: Mapping[str, Any]) -> TokenUsage:
    """Usage as Anthropic's API puts it: input read from a cache and written to one stands apart."""
    cached = count(usage.get("cache_read_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    return TokenUsage(
        input_tokens=count(usage.get("input_tokens")) + cached + written,
        output_tokens=count(usage.get("output_tokens")),
        cached_tokens=cached,
        cache_write_tokens=written,
    )


def model_usage(models: Mapping[str, Any]) -> TokenUsage:
    """Usage summed over every model that the run has asked."""
    total = NONE
    for model in map(mapping, models.values()):
        cached, written = count(model.get("cacheReadInputTokens")), count(model.get("cacheCreationInputTokens"))
        total += TokenUsage(
            input_tokens=count(model.get("inputTokens")) + cached + written,
            output_tokens=count(model.get("outputTokens")),
            cached_tokens=cached,
            cache_write_tokens=written,
        )
    return total


class Accounts:
    """The tokens used so far, from what streams by."""

    def __init__(self) -> None:
        self._finished = NONE
        self._message: dict[str, Any] = {}

    def message_start(self, usage: Mapping[str, Any]) -> None:
        """A message begins: its input is known."""
        self._finished = self.total
        self._message = dict(usage)

    def message_delta(self, usage: Mapping[str, Any]) -> None:
        """A message ends: these fields are final."""
        self._message.update((name, value) for name, value in usage.items() if value is not None)

    @property
    def total(self) -> TokenUsage:
        """Everything so far, the message that is still coming included."""
        return self._finished + token_usage(self._message)

    def settle(self, result: Mapping[str, Any]) -> TokenUsage:
        """The usage of a run that ended with this ``result``.

        ``modelUsage`` counts the whole run, as its cost does: sub-agents, and the answers that came without a stream.
        ``usage`` leaves those out.  Neither knows of a message that was interrupted.
        """
        whole = model_usage(mapping(result.get("modelUsage")))
        return next(
            (usage for usage in (whole, token_usage(mapping(result.get("usage")))) if usage != NONE), self.total
        )
