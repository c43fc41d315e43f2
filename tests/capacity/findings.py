"""What a case has shown, as rows of a table."""

from collections.abc import Iterable
from dataclasses import dataclass

WIDTHS = (44, 46)


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was tried, what was seen, and whether that is as it should be."""

    tried: str
    seen: str
    good: bool


def table(findings: Iterable[Finding]) -> str:
    """The rows, a line each."""
    return "\n".join(_line(finding) for finding in findings)


def _line(finding: Finding) -> str:
    tried, seen = finding.tried.ljust(WIDTHS[0]), finding.seen.ljust(WIDTHS[1])
    return f"{tried} {seen} {'ok' if finding.good else '<- WRONG'}"
