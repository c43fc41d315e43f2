"""What is counted of runs."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from services.events import TokenUsage
from services.metrics import RunMetrics
from tests.services.test_reports import REPORT


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> RunMetrics:
    return RunMetrics(registry, ["claude", "codex"])


def test_runs_are_counted_by_backend_and_outcome(registry: CollectorRegistry, metrics: RunMetrics) -> None:
    for outcome in ("done", "done", "timeout"):
        metrics.tell(replace(REPORT, outcome=outcome))

    def count(backend: str, outcome: str) -> float | None:
        return registry.get_sample_value("clinvk_runs_total", {"backend": backend, "outcome": outcome})

    assert [count("claude", "done"), count("claude", "timeout"), count("codex", "done")] == [2, 1, 0]


def test_runs_whose_cli_was_there_are_counted_by_backend(registry: CollectorRegistry, metrics: RunMetrics) -> None:
    for warm in (True, False, True):
        metrics.tell(replace(REPORT, warm=warm))
    counts = [registry.get_sample_value("clinvk_warm_runs_total", {"backend": name}) for name in ("claude", "codex")]
    assert counts == [2, 0]


def test_those_that_wait_are_told_for_every_backend(registry: CollectorRegistry, metrics: RunMetrics) -> None:
    def waiting() -> list[float | None]:
        return [registry.get_sample_value("clinvk_warm_processes", {"backend": name}) for name in ("claude", "codex")]

    assert waiting() == [0, 0]
    metrics.set_waiting({"claude": 2})
    assert waiting() == [2, 0]
    metrics.set_waiting({"codex": 1})
    assert waiting() == [0, 1]


def test_tokens_and_cost_are_added_up(registry: CollectorRegistry, metrics: RunMetrics) -> None:
    metrics.tell(replace(REPORT, usage=TokenUsage(input_tokens=10, output_tokens=5, cache_write_tokens=3)))
    metrics.tell(replace(REPORT, cost_usd=None))
    kinds = {"input": 20, "output": 10, "cache_write": 3, "cached": None}
    for kind, number in kinds.items():
        assert registry.get_sample_value("clinvk_tokens_total", {"backend": "claude", "kind": kind}) == number
    assert registry.get_sample_value("clinvk_cost_usd_total", {"backend": "claude"}) == 0.5


def test_seconds_are_observed_and_the_first_text_only_where_there_was_one(
    registry: CollectorRegistry, metrics: RunMetrics
) -> None:
    metrics.tell(REPORT)
    metrics.tell(replace(REPORT, first_text_s=0.75))

    def observed(name: str) -> tuple[float | None, float | None]:
        sums = (f"clinvk_run_{name}_seconds_{what}" for what in ("count", "sum"))
        count, total = (registry.get_sample_value(name, {"backend": "claude"}) for name in sums)
        return count, total

    assert observed("queue") == (2, 0.5)
    assert observed("duration") == (2, 3.0)
    assert observed("first_text") == (1, 0.75)


def test_what_goes_on_now_is_set_for_every_state(registry: CollectorRegistry, metrics: RunMetrics) -> None:
    metrics.set_now({"running": 3}, 8)
    metrics.set_now({"queued": 1}, 8)
    states = [registry.get_sample_value("clinvk_runs_now", {"state": state}) for state in ("queued", "running")]
    assert states == [1, 0]
    assert registry.get_sample_value("clinvk_run_slots") == 8
