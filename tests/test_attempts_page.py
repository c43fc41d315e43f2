"""docs/attempts.md names tests that there are."""

import re

from tests.support.guard import ROOT

ROWS = re.findall(
    r"^\| (?!Attempt |---)(.+) \| `(\S+)::(\w+)` \|$", (ROOT / "docs/attempts.md").read_text(), re.MULTILINE
)


def test_each_attempt_has_a_test_of_that_name() -> None:
    assert len(ROWS) > 60
    for attempt, path, name in ROWS:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), attempt


def test_every_row_is_one_of_them() -> None:
    lines = [line for line in (ROOT / "docs/attempts.md").read_text().splitlines() if line.startswith("| ")]
    assert len(lines) == len(ROWS) + sum(line == "| Attempt | Test |" for line in lines)
