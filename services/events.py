"""What happens during a run, in one vocabulary for every CLI and every dialect.

A backend's conversation turns a CLI's lines into these events; a translator turns them into bytes for
a client.  Translators ``match`` on :data:`Event` and end in ``assert_never``, so that a new event is
a type error in each of them until it is handled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from services.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one run.

    ``input_tokens`` counts *all* input, ``cached_tokens`` the part of it read from a cache and
    ``cache_write_tokens`` the part written to one; ``output_tokens`` includes ``reasoning_tokens``.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def told(self) -> dict[str, int]:
        """Those that are not 0, by name."""
        return {name: number for name in self.__slots__ if (number := getattr(self, name))}

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def __sub__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cached_tokens - other.cached_tokens,
            self.cache_write_tokens - other.cache_write_tokens,
            self.reasoning_tokens - other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Init:
    """The CLI is ready: the model it will ask and its own id of the session ("" where it has none)."""

    model: str = ""
    cli_session_id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A piece of the answer.  The texts of all messages, joined, are the output of the run."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The CLI runs one of its tools."""

    tool_id: str
    tool_name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool answered."""

    tool_id: str
    output: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """A sign of life, such as a retry that the CLI announces."""

    message: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens used so far in this run (a running total, not an increment)."""

    usage: TokenUsage


StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "max_turns", "refusal"]


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a run that succeeded.

    ``stop_sequence`` is the one that ended it, "" when none did; ``usage_estimated`` says that nobody has counted.
    """

    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = None
    turn_count: int = 1
    exit_code: int = 0
    stop_reason: StopReason = "end_turn"
    stop_sequence: str = ""
    usage_estimated: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of a run that failed.

    ``exit_code`` is the CLI's own; 1 when it reported a failure and exited 0 or had to be ended; -1 when
    the server ended the run.  Tokens and cost spent until then are kept.
    """

    code: ErrorCode
    message: str
    exit_code: int = 1
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = None
    retry_after_s: int | None = None


Outcome = Done | Failed
Event = Init | Message | Thinking | ToolUse | ToolResult | Progress | Usage | Done | Failed
