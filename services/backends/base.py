"""What a backend is: two pure functions and what they return.

A backend *speaks* to a CLI, it does not run it: no process, no clock, no socket, no file.  Like h11 for HTTP, it
takes bytes and gives bytes and events, so that every line a CLI ever printed can be replayed in a test.

- :meth:`Backend.spawn` says what to start: everything that is known before the prompt.  Equal spawns are
  interchangeable, which is what a process started in advance is looked up by.
- :meth:`Backend.conversation` gives a state machine for one run with one process.
"""

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from services.backends.login import LoginCheck
from services.chat import AS_USUAL, ChatMessage, Sampling
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Message
from services.settings import ApprovalMode, SandboxMode


@dataclass(frozen=True, slots=True)
class Options:
    """How one prompt is to be run, request and configuration already merged.

    Zero, empty and ``default`` mean the CLI's own default; ``allowed_tools=None`` means all its tools.
    ``workdir`` is absolute and resolved, "" for a folder of the run's own.  With ``keep_session`` the CLI is to keep
    the conversation, so that ``resume``, its own id of it, can continue it in a later process.  ``max_retries`` is how
    often the CLI may ask its provider again.  ``private_folder`` says that the folder is the session's own, and goes
    away with it.

    ``messages`` came before the prompt and reach the model as turns of the conversation.  With ``as_model`` the CLI has
    no tools, and reads no memory file, hook or MCP server of the user's or of the folder; ``system_prompt`` is all that
    the model is told.
    """

    workdir: str
    model: str = ""
    approval_mode: ApprovalMode = "default"
    sandbox_mode: SandboxMode = "default"
    max_turns: int = 0
    max_tokens: int = 0
    system_prompt: str = ""
    append_system_prompt: str = ""
    allowed_tools: tuple[str, ...] | None = None
    verbose: bool = False
    extra: tuple[str, ...] = ()
    max_retries: int = 2
    keep_session: bool = False
    resume: str = ""
    private_folder: bool = False
    messages: tuple[ChatMessage, ...] = ()
    sampling: Sampling = AS_USUAL
    as_model: bool = False

    @property
    def is_private(self) -> bool:
        """Whether nobody comes back to the folder once the run, or the session that it belongs to, is gone."""
        return self.private_folder or not self.workdir


@dataclass(frozen=True, slots=True)
class InRun:
    """A path inside the run's private folder, not known until the process is started."""

    name: str


@dataclass(frozen=True, slots=True)
class PromptText:
    """The prompt itself, not known until the process is started, with what stands before it in the same word."""

    before: str = ""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A conversation's file in a :class:`PrivateHome`, which outlives it.

    When the run ends, what ``tidy`` makes of the CLI's file that matches the glob pattern ``written`` is put at
    ``place``; of several such files it is the one of which ``tidy`` makes anything.  A run that continues the
    conversation ``resume`` finds it in its home as ``read``.  ``place`` is relative to the user's home folder, and
    ``{session}`` in it stands for the CLI's id of the session.
    """

    place: str
    written: str
    read: str
    tidy: Callable[[bytes], bytes]
    resume: str = ""


@dataclass(frozen=True, slots=True)
class PrivateHome:
    """A home of the run's own, for a CLI that would keep each run in the user's: it goes away with the run.

    ``variable`` tells the CLI where it is (and where the user's own is, if that is not ``usual`` below HOME).  What the
    user's own has in ``folder`` and ``beside`` it is there, too, by links, but for the names in ``private``.
    ``settings`` is a JSON file in ``folder`` with the user's settings and ``changes``, a JSON object, merged over them
    (RFC 7396), and both over ``defaults``; "" for none.  ``files`` (name → text) are written there as well.  ``kept``
    is what is to stay of it.  One that is there ``only_to_hide`` what is private is the user's own when there is
    nothing to hide.
    """

    variable: str
    folder: str
    beside: tuple[str, ...]
    private: tuple[str, ...]
    settings: str
    changes: str
    files: tuple[tuple[str, str], ...] = ()
    defaults: str = "{}"
    kept: KeptFile | None = None
    usual: str = ""
    only_to_hide: bool = False


@dataclass(frozen=True, slots=True)
class Spawn:
    """A process to start.

    ``argv[0]`` is a program name or path.  ``environment`` is added to the clean one.  ``files`` (name → text) are
    written to the run's private folder, where :class:`InRun` in argv and environment points.  ``opening`` is
    written to stdin at once, before any prompt.  ``leftovers`` are glob patterns, relative to the user's home
    folder, of what the CLI keeps of an ephemeral run by itself; they are removed when the run ends.  ``{session}``
    stands for the CLI's id of the session; a folder whose name is a ``*`` goes with the last thing in it.

    ``in_advance`` says that the process can be started before there is a prompt.  It cannot where a
    :class:`PromptText` stands in argv or files, for a CLI that does not read its prompt from stdin.
    """

    argv: tuple[str | InRun | PromptText, ...]
    cwd: str
    environment: tuple[tuple[str, str | InRun], ...] = ()
    files: tuple[tuple[str, str | PromptText], ...] = ()
    opening: bytes = b""
    leftovers: tuple[str, ...] = ()
    home: PrivateHome | None = None
    in_advance: bool = True
    warnings: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to be done about a kept conversation, without a prompt.

    The process of ``spawn``, if there is one, is run with ``conversation`` to its outcome; then ``leftovers`` (patterns
    as in :class:`Spawn`) are removed, and after them those of ``empty_folders`` (patterns, too) that are empty.
    """

    spawn: Spawn | None = None
    conversation: "Conversation | None" = None
    leftovers: tuple[str, ...] = ()
    empty_folders: tuple[str, ...] = ()


class Phase(Enum):
    """Where a conversation stands."""

    TALKING = "talking"
    """The CLI works; its next line is awaited."""
    SETTLED = "settled"
    """The CLI has given its outcome: stdin is closed and the CLI exits by itself, soon."""
    ABANDONED = "abandoned"
    """The outcome is known but the CLI does not see it yet (it would retry for minutes): end it now."""


class Conversation(ABC):
    """One run with one process, as a state machine without I/O.

    The engine writes :meth:`start`, feeds every line of stdout to :meth:`receive`, writes what
    :meth:`data_to_send` gives after each call, closes stdin when :attr:`stdin_done` says so and everything is
    written, and asks :meth:`finish` for the outcome once the process has ended.
    """

    framing: Literal["lines", "raw"] = "lines"
    """Whether :meth:`receive` gets whole lines, or the bytes of stdout as they come."""
    phase: Phase = Phase.TALKING
    stdin_done: bool = False
    patience_s: float | None = None
    """How long the next line may take before the engine treats the conversation as abandoned; None: any time."""

    def __init__(self) -> None:
        self._outgoing: list[bytes] = []

    @abstractmethod
    def start(self) -> None:
        """Queue what is to be sent first: the prompt, or the request that comes before it."""

    @abstractmethod
    def receive(self, line: bytes) -> Sequence[Event]:
        """Take one line of stdout without its newline.  Never raises, whatever the line holds."""

    @abstractmethod
    def finish(self, exit_code: int, stderr_tail: str) -> Done | Failed:
        """Say how the run ended.  ``exit_code`` is negative (minus the signal) when the CLI was killed."""

    def interrupt(self) -> signal.Signals | None:
        """Ask the CLI to stop in its own way: queue a message (see :meth:`data_to_send`) or name a signal."""
        return signal.SIGTERM

    def send(self, data: bytes) -> None:
        """Queue bytes for the CLI's stdin."""
        self._outgoing.append(data)

    def data_to_send(self) -> bytes:
        """Take what is queued for the CLI's stdin."""
        if not self._outgoing:
            return b""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data


class Backend(ABC):
    """A kind of CLI."""

    name: str
    """As clients and the configuration call it."""
    owner: str
    """Who makes the models, as in OpenAI's ``owned_by``."""
    executable: str
    """The program, found in PATH or an absolute path."""
    install_hint: str
    """How to get the program, for the error when it is missing."""
    login_hint: str = ""
    """What to do when the CLI says it is not logged in."""
    environment: tuple[str, ...] = ()
    """Variables of the server's environment that this CLI gets beside the common ones: names and ``PREFIX_*``."""
    extra_flags: Mapping[str, bool] = {}
    """The flags a request may pass in ``extra``; True where a value follows."""
    mode_flags: Mapping[str, Mapping[str, str]] = {}
    """For each of those flags that chooses an approval or a sandbox mode: which of our modes its values are.

    One that goes beyond every mode of ours, such as allowing a tool outright, has none of them.
    """
    tool_flags: frozenset[str] = frozenset()
    """Those of the flags that allow tools: only where the configuration has not chosen them."""
    version_args: tuple[str, ...] = ("--version",)
    """Arguments that make the program print its version."""
    version_environment: Mapping[str, str] = {}
    """What it gets in its environment for that; it is asked in a folder of the server's own."""
    tested_version: str = ""
    """The version of the CLI that the recordings were made with, and that the project is tested with."""
    login_check: LoginCheck | None = None
    """How to find out whether it is logged in; None: nothing is known of that."""
    max_prompt_bytes: int = 0
    """The longest prompt the CLI takes whole, in bytes of UTF-8; 0: no limit."""
    can_resume: bool = False
    """Whether a conversation can be continued in a later process."""
    folder_bound: bool = False
    """Whether a session can only be continued in the folder it began in."""
    honours: frozenset[str] = frozenset()
    """What acts of :class:`~services.chat.Sampling` and ``max_tokens``, by name."""
    takes_messages: bool = False
    """Whether the messages before a prompt reach the model as turns; else they become part of the prompt."""
    takes_system_prompt: bool = True
    """Whether there is a system prompt apart from the prompt."""

    @abstractmethod
    def spawn(self, options: Options) -> Spawn:
        """What to start for a prompt with these options; what cannot be honoured is in ``warnings``."""

    def honoured(self, options: Options) -> frozenset[str]:  # noqa: ARG002 - most CLIs do it with any model
        """What of :attr:`honours` acts with these options, by name."""
        return self.honours

    def objection(self, prompt: str) -> str:  # noqa: ARG002 - most CLIs take any text
        """Why the CLI cannot be given this prompt as text and nothing but text; "" when it can."""
        return ""

    @abstractmethod
    def conversation(self, options: Options, prompt: str) -> Conversation:
        """A fresh conversation that asks this prompt."""

    def fork(self, options: Options) -> Errand | None:  # noqa: ARG002
        """How to copy the conversation that ``options.resume`` names; None when the CLI has no way.

        An :class:`~services.events.Init` tells the CLI's id of the copy.
        """
        return None

    def forget(self, options: Options) -> Errand | None:  # noqa: ARG002
        """How to remove the CLI's own copy of the conversation that ``options.resume`` names; None: it has no way."""
        return None


class Paragraphs:
    """Joins the messages of one run by blank lines, so that every dialect streams the same text."""

    def __init__(self) -> None:
        self._said_something = False
        self._break_due = False

    def text(self, text: str) -> list[Event]:
        """The events of a piece of text."""
        if not text:
            return []
        if self._break_due:
            self._break_due = False
            text = "\n\n" + text
        self._said_something = True
        return [Message(text)]

    def new_message(self) -> None:
        """The next piece begins another message."""
        self._break_due = self._said_something


def code_for_status(status: int | None) -> ErrorCode:
    """The error code for a provider's HTTP status, as a CLI reports it (None: it names none)."""
    match status:
        case 401 | 403:
            return ErrorCode.BACKEND_AUTH_FAILED
        case 404:
            return ErrorCode.UNKNOWN_MODEL
        case 429:
            return ErrorCode.RATE_LIMITED
        case 503 | 529:
            return ErrorCode.OVERLOADED
        case 408 | 504:
            return ErrorCode.TIMEOUT
        case _:
            return ErrorCode.BACKEND_FAILED
