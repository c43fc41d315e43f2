"""What a client is told when its request never reaches the application: gunicorn's error pages, as JSON.

Without a request there is no dialect, so it is the native one (application/problem+json).
"""

import json
import uuid
from typing import Any

from services.errors import ErrorCode


class ErrorsAsJson:
    """Stands in for a client's socket while gunicorn writes an error page."""

    def __init__(self, sock: Any, error: Exception) -> None:
        self._sock = sock
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def gettimeout(self) -> float:
        """As if it did not block, so that gunicorn leaves its mode alone."""
        return 0.0

    def sendall(self, page: bytes) -> None:
        """Send the page's status with a body of ours."""
        _, status, title = page.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        request_id = uuid.uuid4().hex
        body = json.dumps(problem(int(status), title, str(self._error), request_id)).encode()
        head = (
            f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
            f"X-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._sock.sendall(head.encode("latin-1") + body)


def problem(status: int, title: str, reason: str, request_id: str) -> dict[str, Any]:
    """The body of an error; what went wrong within the server is not told."""
    ours = status == 500
    message = "the server failed; its log has the details" if ours else f"this is no request we understand: {reason}"
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": message,
        "errors": [],
        "error": ErrorCode.INTERNAL if ours else ErrorCode.INVALID_REQUEST,
        "message": message,
        "request_id": request_id,
    }
