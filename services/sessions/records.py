"""What is remembered, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.events import TokenUsage


class Status(StrEnum):
    """``active``: a run is going on; ``completed``: idle; ``error``: idle, and the last run failed."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class NewSession:
    """What is known of a session when it begins; an owner of "" is the one of a server without keys."""

    backend: str
    owner: str = ""
    working_dir: str = ""
    private_folder: bool = False
    """Whether the folder is the session's own, to be removed with it."""
    cli_session_id: str = ""
    model: str = ""
    initial_prompt: str = ""
    tags: tuple[str, ...] = ()
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    parent_id: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works on a session: the run, and the marker of the worker process that it belongs to."""

    run_id: str
    worker: str


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation with one CLI.  Times are in Unix seconds.

    ``cli_session_id`` is the CLI's own id of it ("" until the CLI has told it), ``expired`` says that the CLI no longer
    knows it.  ``run_id`` and ``worker`` are those of the claim while the session is active, else "".
    """

    id: str
    backend: str
    owner: str
    created_at: float
    last_used: float
    status: Status
    cli_session_id: str = ""
    working_dir: str = ""
    private_folder: bool = False
    model: str = ""
    initial_prompt: str = ""
    error_message: str = ""
    turn_count: int = 0
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = None
    tags: tuple[str, ...] = ()
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    parent_id: str = ""
    expired: bool = False
    run_id: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True)
class TurnText:
    """What was said in a turn."""

    prompt: str
    output: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run on a session ended; with an ``error`` it failed.

    "" leaves the CLI's id and the model as they were.  ``text`` is given when turns are to be kept.
    """

    error: str = ""
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = None
    cli_session_id: str = ""
    model: str = ""
    expired: bool = False
    text: TurnText | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was kept.  ``number`` counts all turns of the session from 1, kept or not."""

    number: int
    prompt: str
    output: str
    at: float
    usage: TokenUsage
    error: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the sessions that match, and how many match."""

    sessions: tuple[Session, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Removed:
    """A session that is gone, and the folder to remove with it: "" when it had none, or when a fork still uses it."""

    session: Session
    folder: str
