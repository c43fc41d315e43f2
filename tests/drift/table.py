"""What a drift run found, for a person."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.drift.comparison import Finding, Verdict

STYLES = {Verdict.SAME: "green", Verdict.UNREAD: "cyan"}
SHOWN = 12
"""Differences of a scenario that are shown; the recordings have the rest."""
UNREAD_SHOWN = 20
"""As many of those that clinvk does not read."""
HEADING = "what clinvk reads, or its clients see (+ new, - gone, ~ of another type)"


@dataclass(frozen=True, slots=True)
class Report:
    """One CLI: the version that clinvk is tested with, the one that was tried, and what was found."""

    cli: str
    pinned: str
    tried: str
    findings: Sequence[Finding]

    @property
    def is_harmless(self) -> bool:
        """Whether nothing that clinvk reads, and nothing that its clients see, has changed."""
        return all(finding.verdict.is_harmless for finding in self.findings)


def show(report: Report, console: Console) -> None:
    """Print a table, what has changed beyond it, and an answer to the question whether one may upgrade."""
    table = Table(title=f"{report.cli}: {report.pinned} → {report.tried}", title_justify="left")
    table.add_column("scenario", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column(HEADING, overflow="fold")
    for finding in report.findings:
        style = STYLES.get(finding.verdict, "bold red")
        table.add_row(finding.scenario, Text(finding.verdict.value, style), Text("\n".join(shown(finding))))
    console.print(table)
    if lines := unread(report.findings):
        console.print(Text("\n".join(["what clinvk does not read, and in how many scenarios:", *lines])))
    console.print(Text(conclusion(report), "green" if report.is_harmless else "bold red"), "\n")


def shown(finding: Finding) -> list[str]:
    """The lines for a scenario's differences that matter."""
    return cut([difference.text for difference in finding.differences if difference.matters], SHOWN)


def unread(findings: Sequence[Finding]) -> list[str]:
    """A line for each of the other differences: what is not new before what is, the most frequent first."""
    differences = (difference for finding in findings for difference in finding.differences)
    counted = Counter(difference.text for difference in differences if not difference.matters)
    in_order = sorted(counted.items(), key=lambda item: (item[0].startswith("+"), -item[1], item[0]))
    return cut([f"{count:5d}  {text}" for text, count in in_order], UNREAD_SHOWN)


def cut(lines: list[str], longest: int) -> list[str]:
    """The lines, or so many of them and how many there are more."""
    more = len(lines) - longest
    return lines if more <= 1 else [*lines[:longest], f"… and {more} more"]


def conclusion(report: Report) -> str:
    """In a sentence."""
    name = f"{report.cli} {report.tried}"
    if all(finding.verdict is Verdict.NEW for finding in report.findings):
        command = f"python -m tests.drift --cli {report.cli} --versions {report.cli}={report.pinned} --write"
        return f"{name}: there is no recording of {report.pinned} to compare it with: `{command}` makes them"
    if not report.is_harmless:
        bad = [finding.scenario for finding in report.findings if not finding.verdict.is_harmless]
        return f"{name}: look before you upgrade: {', '.join(bad)}"
    if any(finding.differences for finding in report.findings):
        return f"{name}: you may upgrade: what changed, clinvk does not read"
    return f"{name}: nothing has changed"
