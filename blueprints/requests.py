"""What holds for every request, whatever its dialect: its id, and what a body must declare itself to be."""

import re
import time
import uuid
from functools import partial

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from services.errors import ClinvkError, ErrorCode
from services.tracing import request_id, trace_parent

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
WITH_BODY = {"POST", "PUT", "PATCH"}


def install(app: Flask) -> None:
    """Give every request an id."""
    app.before_request(begin)
    app.after_request(finish)


def begin() -> None:
    """Keep a sane id or make one, and note the time."""
    g.began_s = time.monotonic()
    incoming = request.headers.get("X-Request-Id", "")
    request_id.set(incoming if SANE_ID.fullmatch(incoming) else uuid.uuid4().hex)
    trace_parent.set(request.headers.get("traceparent", ""))


def require_json() -> None:
    """Refuse a body that does not say that it is JSON.  Raises ClinvkError.

    The content type is demanded even of an empty body: a web page can post plain forms to any server it likes, but
    needs this server's leave (CORS) to post JSON.
    """
    if request.method in WITH_BODY and request.url_rule is not None and not request.is_json:
        given = request.content_type or "none"
        message = f"the body must be sent as Content-Type: application/json (given: {given[:100]})"
        raise ClinvkError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, message)


def finish(response: Response) -> Response:
    """Tell the client the request's id, and forget it once everything is sent: the thread serves others after."""
    response.headers["X-Request-Id"] = request_id.get()
    response.call_on_close(partial(request_id.set, ""))
    return response


def read_body(request: Request) -> bytes:
    """The whole body.  Raises RequestEntityTooLarge when it is larger than the application's limit."""
    limit = request.max_content_length
    if limit is None or request.content_length is not None:
        return request.get_data(cache=False)
    # Werkzeug cuts a body of unannounced length at the limit and says nothing: let it read one byte more
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    request.max_content_length = limit
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


def client_fd() -> int | None:
    """The client's socket, None where there is none (a test client)."""
    socket = request.environ.get("gunicorn.socket")
    return socket.fileno() if socket is not None else None


def owner() -> str:
    """Whose request it is: what stands for its API key; "" on a server without keys."""
    return str(g.owner)
