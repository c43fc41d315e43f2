"""The line in the log for each run."""

import logging

import pytest

from services.events import TokenUsage
from services.reports import RunReport, log_run

REPORT = RunReport(
    run_id="r1",
    backend="claude",
    model="m",
    session_id="",
    owner="0123abcd",
    outcome="done",
    exit_code=0,
    queued_s=0.25,
    first_text_s=None,
    duration_s=1.5,
    usage=TokenUsage(input_tokens=10, output_tokens=5),
    cost_usd=0.5,
    prompt="a secret",
)


def told(caplog: pytest.LogCaptureFixture, *, prompts: bool) -> dict[str, object]:
    with caplog.at_level(logging.INFO, "services.reports"):
        log_run(REPORT, prompts=prompts)
    (record,) = caplog.records
    return vars(record)


def test_a_line_has_all_that_is_known_of_a_run_but_what_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    record = told(caplog, prompts=False)
    expected = {
        "run_id": "r1", "backend": "claude", "model": "m", "key": "0123abcd", "outcome": "done", "exit_code": 0,
        "queued_ms": 250, "duration_ms": 1500, "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.5,
    }  # fmt: skip
    assert expected.items() <= record.items()
    assert not {"prompt", "session_id", "first_text_ms", "cached_tokens"} & record.keys()
    assert "a secret" not in str(record)


def test_what_was_asked_is_told_on_demand(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, prompts=True)["prompt"] == "a secret"
