"""What a person reads, and how the command is called."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from services.backends import BUILT_IN
from tests.drift import npm
from tests.drift.__main__ import arguments
from tests.drift.comparison import Difference, Finding, Verdict
from tests.drift.table import SHOWN, Report, conclusion, show, shown, unread
from tests.support.guard import ROOT

GONE = Difference("- result: usage (object)", matters=True)
ADDED = Difference("+ result: mood [of today] (string)", matters=False)


def report(*findings: Finding) -> Report:
    return Report("claude", "1.0", "2.0", findings)


def printed(found: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    show(found, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_says_what_changed_where() -> None:
    text = printed(report(Finding("text", Verdict.SAME), Finding("tool", Verdict.CHANGED, (GONE, ADDED))))
    assert "claude: 1.0 → 2.0" in text
    assert "- result: usage (object)" in text
    assert "    1  + result: mood [of today] (string)" in text
    assert "claude 2.0: look before you upgrade: tool" in text


@pytest.mark.parametrize(
    ("findings", "said", "harmless"),
    [
        ((Finding("text", Verdict.SAME),), "claude 2.0: nothing has changed", True),
        ((Finding("text", Verdict.UNREAD, (ADDED,)),), "claude 2.0: you may upgrade", True),
        ((Finding("text", Verdict.FAILED, (GONE,)),), "claude 2.0: look before you upgrade: text", False),
        ((Finding("text", Verdict.NEW),), "--cli claude --versions claude=1.0 --write", False),
    ],
)
def test_in_a_sentence(findings: tuple[Finding, ...], said: str, harmless: bool) -> None:
    assert said in conclusion(report(*findings))
    assert report(*findings).is_harmless is harmless


def test_a_long_list_is_cut() -> None:
    lines = shown(Finding("text", Verdict.CHANGED, (GONE,) * (SHOWN + 5) + (ADDED,)))
    assert len(lines) == SHOWN + 1
    assert lines[-1] == "… and 5 more"


def test_what_is_not_read_is_told_once() -> None:
    lost = Difference("- result: ttft_ms (number)", matters=False)
    findings = [Finding("text", Verdict.UNREAD, (ADDED,)), Finding("tool", Verdict.CHANGED, (GONE, ADDED, lost))]
    assert unread(findings) == ["    1  - result: ttft_ms (number)", "    2  + result: mood [of today] (string)"]


def test_what_is_asked_for() -> None:
    assert arguments([]).cli == ["claude", "codex", "gemini"]
    given = arguments(["--cli", "codex", "--versions", "codex=1.2.3", "--write"])
    assert (given.cli, given.versions, given.write) == (["codex"], {"codex": "1.2.3"}, True)


@pytest.mark.parametrize("words", [["--versions", "codex"], ["--versions", "other=1"], ["--cli", "demo"]])
def test_what_cannot_be_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(words)
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize("cli", npm.PACKAGES)
def test_what_is_installed_is_there(cli: str, tmp_path: Path) -> None:
    """Nothing is fetched for a version that was installed before."""
    place = tmp_path / f"{cli}-1.0"
    place.mkdir()
    (place / "done").touch()
    assert npm.installed(cli, "1.0", tmp_path).path == place / "node_modules" / ".bin" / cli
    assert npm.manifest(cli, "1.0")["dependencies"] == {npm.PACKAGES[cli]: "1.0"}
    assert cli in BUILT_IN


def test_the_verdicts_are_described() -> None:
    chapter = (ROOT / "CONTRIBUTING.md").read_text()
    assert [verdict.value for verdict in Verdict if f"   | {verdict.value} |" not in chapter] == []
