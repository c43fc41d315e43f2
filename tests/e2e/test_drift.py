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

pytestmark = pytest.mark.timeout(600)  # all scenarios, one after the other

READ: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "claude": ("text", ("message", "usage")),
    "codex": ("text", ("params", "tokenUsage")),
    "gemini": ("text", ("params", "update", "content")),
}
"""A scenario, and a field that clinvk reads in it."""


COME_OR_NOT = ("thread/deleted", "session/update available_commands_update")
"""Lines that clinvk does not read, and which come or not, as the CLI's process ends sooner or later."""


@pytest.fixture(scope="module", params=clis.NAMES)
def played(
    request: pytest.FixtureRequest, real_clis: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Recordings]:
    """The recordings of a pinned CLI as it is installed, made now."""
    cli: str = request.param
    program = trial.Program(cli, BUILT_IN[cli].tested_version, real_clis / cli)
    return cli, trial.run(program, tmp_path_factory.mktemp("drift") / "trial")


def kept(cli: str) -> Recordings:
    return read(folder_of(cli, BUILT_IN[cli].tested_version))


def report(cli: str, old: Recordings, new: Recordings) -> Report:
    return Report(cli, "pinned", "tried", compare(cli, old, new))


def test_the_pinned_versions_have_not_changed(played: tuple[str, Recordings]) -> None:
    cli, new = played
    found = report(cli, kept(cli), new)
    differences = [(one.scenario, difference.text) for one in found.findings for difference in one.differences]
    assert found.is_harmless, differences
    assert differences == [change for change in differences if change[1][2:] in COME_OR_NOT]


def test_a_field_that_has_gone_is_seen(played: tuple[str, Recordings]) -> None:
    """Taken out of what was played now, as a newer version might leave it out."""
    cli, new = played
    scenario, path = READ[cli]
    lines = tuple(without(entry, ("from", *path)) for entry in new[scenario].lines)
    found = report(cli, kept(cli), {**new, scenario: replace(new[scenario], lines=lines)})
    changed = {finding.scenario: finding for finding in found.findings if not finding.verdict.is_harmless}
    assert [(name, finding.verdict) for name, finding in changed.items()] == [(scenario, Verdict.CHANGED)]
    (difference, *_) = changed[scenario].differences
    assert f": {'.'.join(path)} (object)" in difference.text
    assert not found.is_harmless


def without(value: Any, path: tuple[str, ...]) -> Any:
    """A JSON value without what stands there, if anything does."""
    name, *rest = path
    if not isinstance(value, Mapping) or name not in value:
        return value
    if not rest:
        return {key: part for key, part in value.items() if key != name}
    return {**value, name: without(value[name], tuple(rest))}
