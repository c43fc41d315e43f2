"""What is told of every request when it has been answered to the end: a line in the log, and its figures."""

import logging
import time
from functools import partial
from typing import Any

from flask import Flask, Response, g, request

from blueprints.metrics import Metrics

QUIET = {"/health", "/metrics"}
"""Asked every few seconds by whoever watches the server: not worth a line each."""
UNMATCHED = "unmatched"
PATH_CHARACTERS = 200

log = logging.getLogger(__name__)


class Teller:
    """Tells of the requests of one application.

    To be made after what else works on its responses: what is registered last comes first there, and the line must be
    written while the request's id is still known.
    """

    def __init__(self, app: Flask, metrics: Metrics | None) -> None:
        self._metrics = metrics
        app.after_request(self._finish)

    def _finish(self, response: Response) -> Response:
        told = {
            "method": request.method,
            "path": request.path[:PATH_CHARACTERS],
            "status": response.status_code,
            "error": g.get("error_code", ""),
            "key": g.get("owner", ""),
            "client": g.get("address", ""),
            "run_id": response.headers.get("X-Clinvk-Run", ""),
        }
        route = request.url_rule.rule if request.url_rule is not None else UNMATCHED
        told = {name: value for name, value in told.items() if value}
        response.call_on_close(partial(self._tell, route, g.began_s, told))
        return response

    def _tell(self, route: str, began_s: float, told: dict[str, Any]) -> None:
        """The last byte has been given to the client's socket, or the client has gone."""
        duration_s = time.monotonic() - began_s
        level = logging.DEBUG if route in QUIET else logging.INFO
        log.log(level, "request", extra={**told, "duration_ms": round(duration_s * 1000)})
        if self._metrics is not None:
            self._metrics.count(told["method"], route, told["status"], duration_s)
