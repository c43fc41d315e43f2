"""A span of OpenTelemetry for every run, where the environment says where spans go.

``pip install 'clinvk[otel]'`` brings the libraries; OpenTelemetry's own variables configure them.  Without such a
variable nothing of it is imported, and nothing is done for a run.
"""

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app import __version__
from services.reports import RunReport, Tell
from services.tracing import request_id, trace_parent

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

SWITCHES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
DONE = "done"
NS_PER_S = 1_000_000_000

log = logging.getLogger(__name__)


def run_spans(environment: Mapping[str, str]) -> list[Tell]:
    """Who makes a span of each run: nobody, unless the environment names a place for them."""
    if not any(environment.get(name) for name in SWITCHES):
        return []
    try:
        return [RunSpans(_exporting(environment.get("OTEL_SERVICE_NAME") or "clinvk")).tell]
    except ImportError as error:
        log.warning("no traces: %s (pip install 'clinvk[otel]')", error)
        return []


def _exporting(service: str) -> "TracerProvider":
    """Sends the service's spans in a thread of its own.  Raises ImportError where the extra is not installed."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - only where on
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": service, "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class RunSpans:
    """Makes a span of each run that has ended, below the client's own when the request named one (``traceparent``)."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._tracer = provider.get_tracer("clinvk", __version__)

    def tell(self, report: RunReport) -> None:
        """Make the span; a thread of the library sends it."""
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415 - only where tracing is on
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        end_ns = time.time_ns()
        start_ns = end_ns - round(report.duration_s * NS_PER_S)
        parent = TraceContextTextMapPropagator().extract({"traceparent": trace_parent.get()})
        span = self._tracer.start_span(
            f"run {report.backend}", parent, SpanKind.CLIENT, attributes=_attributes(report), start_time=start_ns
        )
        if report.first_text_s is not None:
            span.add_event("first text", timestamp=start_ns + round(report.first_text_s * NS_PER_S))
        if report.outcome != DONE:
            span.set_status(Status(StatusCode.ERROR, report.outcome))
        span.end(end_ns)


def _attributes(report: RunReport) -> dict[str, str | int | float]:
    """What is known of a run; never what was asked or answered."""
    known: dict[str, str | int | float | None] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": report.model,
        "gen_ai.usage.input_tokens": report.usage.input_tokens,
        "gen_ai.usage.output_tokens": report.usage.output_tokens,
        "clinvk.backend": report.backend,
        "clinvk.run_id": report.run_id,
        "clinvk.session_id": report.session_id,
        "clinvk.request_id": request_id.get(),
        "clinvk.key": report.owner,
        "clinvk.outcome": report.outcome,
        "clinvk.exit_code": report.exit_code,
        "clinvk.queued_s": report.queued_s,
        "clinvk.cost_usd": report.cost_usd,
    }
    return {name: value for name, value in known.items() if value not in ("", None)}
