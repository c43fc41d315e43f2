"""Spans of runs, from a real server to a collector of OpenTelemetry's protocol, also when the server stops."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.server import ServerFactory

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
DEMO: dict[str, Any] = {"backends": {"demo": {"enabled": True}}, "default_backend": "demo"}


@contextmanager
def collector() -> Iterator[tuple[str, "Queue[ExportTraceServiceRequest]"]]:
    """The address of a collector on this machine, and what it receives."""
    received: Queue[ExportTraceServiceRequest] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def test_a_run_is_a_span_of_the_clients_trace_and_none_is_lost_at_the_stop(start_server: ServerFactory) -> None:
    """The batch would be sent after a minute: it is the stop that sends it."""
    with collector() as (address, received):
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
        }
        server = start_server(DEMO, environment=variables)
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        answer = server.client.post("/api/v1/prompt", {"backend": "demo", "prompt": "a secret"}, headers=headers)
        assert answer.status == 200
        assert received.empty()
        assert server.stop() == 0
        request = received.get(timeout=10)
    (resource,) = request.resource_spans
    told = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert (told["service.name"], told["deployment.environment"]) == ("clinvk", "test")
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("run demo", TRACE, PARENT)
    assert "a secret" not in str(request)


def test_a_collector_that_is_not_there_hinders_nobody(start_server: ServerFactory) -> None:
    server = start_server(DEMO, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert server.client.prompt("hello", "demo").json()["exit_code"] == 0
    assert server.stop(timeout_s=15) == 0
