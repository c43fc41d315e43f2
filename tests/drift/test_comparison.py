"""What a changed recording is taken for."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from services.backends import BUILT_IN
from tests.drift.comparison import Finding, Verdict, compare, compare_one
from tests.drift.recording import Recording, folder_of, read
from tests.drift.trial import CLIS

PINNED = {cli: read(folder_of(cli, BUILT_IN[cli].tested_version)) for cli in CLIS}
TOOL = PINNED["claude"]["tool"]

Change = Callable[[Any], None]


def changed(recording: Recording, kind: str, change: Change) -> Recording:
    """The recording, each line of a type of claude's being otherwise."""
    lines = deepcopy(recording.lines)
    found = [entry["from"] for entry in lines if "from" in entry and entry["from"].get("type") == kind]
    assert found
    for line in found:
        change(line)
    return replace(recording, lines=lines)


def told(finding: Finding) -> list[tuple[str, bool]]:
    return [(difference.text, difference.matters) for difference in finding.differences]


def against_tool(new: Recording) -> Finding:
    return compare_one("claude", "tool", TOOL, new)


@pytest.mark.parametrize("cli", CLIS)
def test_a_version_is_the_same_as_itself(cli: str) -> None:
    assert {finding.verdict for finding in compare(cli, PINNED[cli], PINNED[cli])} == {Verdict.SAME}


def test_a_field_that_clinvk_reads_is_gone() -> None:
    finding = against_tool(changed(TOOL, "result", lambda line: line["usage"].pop("input_tokens")))
    assert finding.verdict is Verdict.CHANGED
    assert told(finding) == [("- result success: usage.input_tokens (number)", True)]


def test_a_field_that_clinvk_does_not_read_is_gone() -> None:
    finding = against_tool(changed(TOOL, "result", lambda line: line.pop("ttft_stream_ms")))
    assert finding.verdict is Verdict.UNREAD
    assert told(finding) == [("- result success: ttft_stream_ms (number)", False)]


def test_of_what_stood_in_a_field_that_is_gone_nothing_more_is_said() -> None:
    finding = against_tool(changed(TOOL, "result", lambda line: line.pop("usage")))
    assert told(finding) == [("- result success: usage (object)", True)]


def test_a_field_is_new() -> None:
    finding = against_tool(changed(TOOL, "result", lambda line: line.update(mood={"of": ["today"]})))
    assert finding.verdict is Verdict.UNREAD
    assert told(finding) == [("+ result success: mood (object)", False)]


def test_a_field_is_of_another_type() -> None:
    finding = against_tool(changed(TOOL, "result", lambda line: line.update(total_cost_usd="free")))
    assert finding.verdict is Verdict.CHANGED
    assert told(finding) == [("~ result success: total_cost_usd: number → string", True)]


def test_a_kind_of_line_has_another_name() -> None:
    finding = against_tool(changed(TOOL, "result", lambda line: line.update(type="outcome")))
    assert finding.verdict is Verdict.CHANGED
    assert told(finding) == [("- result success", True), ("+ outcome success", False)]


def test_lines_come_in_another_order() -> None:
    *lines, exit_entry = TOOL.lines
    finding = against_tool(replace(TOOL, lines=(lines[0], lines[-1], *lines[1:-1], exit_entry)))
    assert finding.verdict is Verdict.CHANGED
    assert ("result success now before system init", True) in told(finding)


@pytest.mark.parametrize(("cli", "is_told"), [("codex", False), ("claude", True)])
def test_what_comes_at_any_time_has_no_order(cli: str, is_told: bool) -> None:
    first, then = {"from": {"method": "warning"}}, {"from": {"method": "turn/completed"}}
    old, new = Recording((first, then), {}), Recording((then, first), {})
    told = [difference.text for difference in compare_one(cli, "x", old, new).differences]
    assert ("turn/completed now before warning" in told) is is_told


def test_clients_get_something_else() -> None:
    usage = {**TOOL.answer["token_usage"], "output_tokens": 0}
    finding = against_tool(replace(TOOL, answer={**TOOL.answer, "token_usage": usage, "new": 1}))
    assert finding.verdict is Verdict.ANSWER
    assert told(finding) == [("answer.token_usage.output_tokens: 1 → 0", True), ("answer.new: nothing → 1", True)]


def test_a_scenario_cannot_be_played_any_more() -> None:
    finding = against_tool(Recording((), {"failed": "AssertionError: no answer"}))
    assert finding.verdict is Verdict.FAILED
    assert told(finding) == [("AssertionError: no answer", True)]


def test_scenarios_that_only_one_side_has() -> None:
    findings = compare("claude", {"old": TOOL}, {"new": TOOL})
    assert [(finding.scenario, finding.verdict) for finding in findings] == [
        ("new", Verdict.NEW),
        ("old", Verdict.FAILED),
    ]
    assert not any(finding.verdict.is_harmless for finding in findings)
