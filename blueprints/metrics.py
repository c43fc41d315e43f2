"""``/metrics``: what Prometheus reads, and what is counted of requests."""

from collections.abc import Iterable

from flask import Response, current_app, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_flask_exporter import PrometheusMetrics

from blueprints.api import Blueprint
from blueprints.context import services
from services.errors import ClinvkError, ErrorCode
from services.metrics import RunMetrics

EXTENSION = "clinvk metrics"
REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
TEXT = "text/plain"

blueprint = Blueprint("metrics", __name__, description="The server itself.")


class Metrics:
    """All that one application counts."""

    def __init__(self, registry: CollectorRegistry, backends: Iterable[str], version: str) -> None:
        self.runs = RunMetrics(registry, backends)
        self._exporter = PrometheusMetrics(None, path=None, export_defaults=False, registry=registry)
        self._requests = Counter(
            "clinvk_http_requests", "Requests that were answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "clinvk_http_request_duration_seconds",
            "From the beginning of a request to the last byte of its answer, of a stream too.",
            ["method", "route"],
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        info = Gauge("clinvk_info", "What runs here.", ["version"], registry=registry, multiprocess_mode="mostrecent")
        info.labels(version).set(1)

    def count(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count a request, once it is answered to the end."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(duration_s)

    def page(self) -> Response:
        """All figures, in the format that the client prefers."""
        container = services()
        server = container.config.server
        self.runs.set_now(container.registry.count(), container.runs.slots.limit * server.workers)
        text, content_type = self._exporter.generate_metrics(request.headers.get("Accept"))
        return Response(text, content_type=content_type)


@blueprint.route("/metrics", tags=["Server"])
@blueprint.keyless
@blueprint.response(200, {"type": "string"}, content_type=TEXT, description="Prometheus' text format.")
def metrics() -> Response:
    """Tell the figures that Prometheus collects.

    Needs no API key.  404 unless `server.metrics_enabled` is on.
    """
    counted = current_app.extensions.get(EXTENSION)
    if counted is None:
        raise ClinvkError(ErrorCode.NOT_FOUND, "there are no metrics here: server.metrics_enabled switches them on")
    page: Response = counted.page()
    return page
