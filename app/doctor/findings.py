"""What a report is made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from app.config import EXIT_CONFIG

EXIT_FAULT = 1


class Level(StrEnum):
    """How grave a finding is."""

    GOOD = "good"
    NOTE = "note"
    """Worth knowing; nothing has to be done."""
    WARNING = "warning"
    """It works, but may not do what is wanted."""
    FAULT = "fault"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen, in words, and what mends it ("" where nothing has to be mended)."""

    level: Level
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class BackendReport:
    """What was seen of a backend.

    ``tested`` and ``logged_in`` are None where that cannot be told; ``login`` says by what it is logged in, or why not.
    ``command`` is the command line of a prompt, quoted for a shell.
    """

    name: str
    enabled: bool
    program: str = ""
    version: str = ""
    tested: bool | None = None
    tested_version: str = ""
    logged_in: bool | None = None
    login: str = ""
    command: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether requests to it can be answered, as far as that can be seen."""
        return self.enabled and not any(finding.level is Level.FAULT for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Report:
    """All that was seen.  Where the configuration is at fault, nothing else was looked at."""

    version: str
    user: str
    configuration: tuple[Finding, ...]
    backends: tuple[BackendReport, ...] = ()
    folders: tuple[Finding, ...] = ()
    server: tuple[Finding, ...] = ()

    @property
    def ready(self) -> tuple[str, ...]:
        """The backends that can answer."""
        return tuple(backend.name for backend in self.backends if backend.is_ready)

    @property
    def exit_code(self) -> int:
        """0 when a server can work; a backend that cannot is a fault only where none can."""
        if any(faults(self.configuration)):
            return EXIT_CONFIG
        return EXIT_FAULT if any(faults(chain(self.folders, self.server))) or not self.ready else 0


def faults(findings: "Sequence[Finding] | Iterator[Finding] | chain[Finding]") -> Iterator[Finding]:
    """Those that must be mended."""
    return (finding for finding in findings if finding.level is Level.FAULT)
