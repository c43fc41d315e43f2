"""Runs as spans of OpenTelemetry: what is in them, where they go, and that nothing of it is there when it is off."""

import subprocess
import sys
from contextvars import copy_context
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from app.spans import RunSpans, run_spans
from services.reports import RunReport
from services.tracing import request_id, trace_parent
from tests.services.test_reports import REPORT

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def span_of(report: RunReport, traceparent: str = "") -> ReadableSpan:
    """The span that a run becomes, in a request with this header."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def tell() -> None:
        trace_parent.set(traceparent)
        request_id.set("request-1")
        RunSpans(provider).tell(report)

    copy_context().run(tell)
    (span,) = exporter.get_finished_spans()
    return span


def test_a_span_has_what_is_known_of_a_run_but_what_was_asked() -> None:
    span = span_of(replace(REPORT, first_text_s=0.5))
    assert span.name == "run claude"
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5, "clinvk.backend": "claude", "clinvk.run_id": "r1", "clinvk.key": "0123abcd",
        "clinvk.request_id": "request-1", "clinvk.outcome": "done", "clinvk.exit_code": 0, "clinvk.queued_s": 0.25,
        "clinvk.cost_usd": 0.5,
    }  # fmt: skip
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 1_500_000_000
    assert [(event.name, event.timestamp - span.start_time) for event in span.events] == [("first text", 500_000_000)]
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent is None


def test_a_failure_is_one() -> None:
    span = span_of(replace(REPORT, outcome="timeout", exit_code=-1))
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "timeout")


def test_it_is_part_of_the_clients_trace() -> None:
    span = span_of(REPORT, f"00-{TRACE}-{PARENT}-01")
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x} {span.parent.span_id:016x}" == f"{TRACE} {PARENT}"


@pytest.mark.parametrize("nonsense", ["x", "00-0-0-01", "00" * 5000, f"ff-{TRACE}-{PARENT}-01"])
def test_nonsense_for_a_trace_begins_one(nonsense: str) -> None:
    assert span_of(REPORT, nonsense).parent is None


@pytest.mark.parametrize("environment", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}])
def test_nobody_is_told_when_it_is_off(environment: dict[str, str]) -> None:
    assert run_spans(environment) == []


def test_when_it_is_off_nothing_of_it_is_imported() -> None:
    code = "import sys, app.factory; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_what_is_not_installed_is_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert run_spans({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) == []
    assert "pip install 'clinvk[otel]'" in caplog.text
