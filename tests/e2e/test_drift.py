"""The drift guard with the pinned CLIs: it finds nothing, and sees it when there is something."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.backends import BUILT_IN
from tests.drift import trial
from tests.drift.comparison import Verdict, compare
from tests.drift.recording import Recordings, folder_of, read
from tests.drift.table import Report
from tests.e2e import clis

READ: Mapping[str, tuple[str, ...]] = {
    "claude": ("message", "usage"),
    "codex": ("params", "tokenUsage"),
    "gemini": ("params", "update", "content", "text"),
}
"""A field that clinvk reads in the scenario ``text``."""
COME_OR_NOT = ("thread/deleted", "session/update available_commands_update")
"""Lines that clinvk does not read, and which come or not, as the CLI's process ends sooner or later."""


@pytest.mark.timeout(600)  # all scenarios, one after the other
@pytest.mark.parametrize("cli", clis.NAMES)
def test_the_pinned_version_is_as_it_was_and_a_field_that_goes_is_seen(
    cli: str, real_clis: Path, tmp_path: Path
) -> None:
    pinned = BUILT_IN[cli].tested_version
    kept = read(folder_of(cli, pinned))
    new = trial.run(trial.Program(cli, pinned, real_clis / cli), tmp_path / "trial")
    found = report(cli, kept, new)
    differences = [(one.scenario, difference.text) for one in found.findings for difference in one.differences]
    assert found.is_harmless, differences
    assert differences == [change for change in differences if change[1][2:] in COME_OR_NOT]

    path = READ[cli]
    lines = tuple(without(entry, ("from", *path)) for entry in new["text"].lines)
    altered = report(cli, kept, {**new, "text": replace(new["text"], lines=lines)})
    (finding,) = [finding for finding in altered.findings if not finding.verdict.is_harmless]
    assert (finding.scenario, finding.verdict) == ("text", Verdict.CHANGED)
    assert f": {'.'.join(path)} (" in finding.differences[0].text
    assert not altered.is_harmless


def report(cli: str, old: Recordings, new: Recordings) -> Report:
    return Report(cli, "pinned", "tried", compare(cli, old, new))


def without(value: Any, path: tuple[str, ...]) -> Any:
    """A JSON value without what stands there, if anything does."""
    name, *rest = path
    if not isinstance(value, Mapping) or name not in value:
        return value
    if not rest:
        return {key: part for key, part in value.items() if key != name}
    return {**value, name: without(value[name], tuple(rest))}
