"""Errors as clients see them: one conversion to :class:`ClinvkError`, one envelope per dialect, chosen by path.

An unmatched URL has no blueprint, hence the path.  A dialect registers its envelope with the factory's
:class:`~blueprints.api.Api`; what no dialect claims is answered natively, as ``application/problem+json``.
"""

import http
from collections.abc import Callable, Mapping

import marshmallow as ma
import orjson
from flask import Response, g, request
from marshmallow import fields
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from blueprints.api_document import by_status
from services.errors import STATUS, ClinvkError, ErrorCode
from services.events import Failed
from services.tracing import request_id

Envelope = Callable[[ClinvkError], Response]
"""Makes a dialect's response of an error: status and body."""

PROBLEM_JSON = "application/problem+json"

CODE_OF_STATUS = {
    400: ErrorCode.INVALID_REQUEST,
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.NOT_PERMITTED,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    408: ErrorCode.REQUEST_TIMEOUT,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    429: ErrorCode.RATE_LIMITED,
    503: ErrorCode.OVERLOADED,
}
WITHOUT_DIALECT = {"/chat/completions", "/openai/chat/completions", "/messages", "/models", "/openai/models"}
"""What clients ask for whose base URL lacks the dialect, or OpenAI's ``/v1``."""

USUAL_RETRY_AFTER_S = {ErrorCode.RATE_LIMITED: 30, ErrorCode.OVERLOADED: 10}
"""When nobody has said how long it will last."""

IN_VAIN = {ErrorCode.UNAUTHORIZED, ErrorCode.BACKEND_UNAVAILABLE, ErrorCode.INTERNAL}
"""What no client must try again by itself: Claude Code would try a wrong key for minutes, the SDKs a CLI that is not
installed; and after a fault of ours nobody knows what has run."""


ERRORS = f"The error. By status: {by_status((status, code.value) for code, status in STATUS.items())}."


class ProblemItemSchema(ma.Schema):
    """One field at fault."""

    location = fields.String(metadata={"description": "The field, such as `tasks[1].backend`."})
    message = fields.String(metadata={"description": "What is wrong with it."})


class ProblemSchema(ma.Schema):
    """An error, as RFC 9457 problem details."""

    type = fields.String(metadata={"description": "Always `about:blank`; `error` tells errors apart."})
    title = fields.String(metadata={"description": "The phrase of the HTTP status."})
    status = fields.Integer(metadata={"description": "The HTTP status."})
    detail = fields.String(metadata={"description": "What happened, and what to do about it."})
    errors = fields.List(fields.Nested(ProblemItemSchema), metadata={"description": "The fields at fault."})
    error = fields.String(metadata={"description": ERRORS, "enum": [code.value for code in ErrorCode]})
    message = fields.String(metadata={"description": "The same as `detail`."})
    request_id = fields.String(metadata={"description": "The request, as in the header `X-Request-Id`."})
    exit_code = fields.Integer(metadata={"description": "The CLI's, where one has run; -1 when we ended it."})


def native(error: ClinvkError) -> Response:
    """The native envelope: problem details with the code as an extension."""
    body = {
        "type": "about:blank",
        "title": http.HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "errors": [{"location": p.location, "message": p.message} for p in error.problems],
        "error": error.code.value,
        "message": error.message,
        "request_id": request_id.get(),
        **({"exit_code": error.exit_code} if error.ran else {}),
    }
    return Response(orjson.dumps(body), error.status, content_type=PROBLEM_JSON)


class ErrorResponses:
    """Turns whatever went wrong into the response of the dialect that the request's path belongs to."""

    def __init__(self, envelopes: Mapping[str, Envelope]) -> None:
        """``envelopes`` maps a path prefix (``/openai``) to the envelope of all paths below it."""
        self._envelopes = envelopes

    def respond(self, error: ClinvkError) -> Response:
        """The response to this request for an error."""
        g.error_code = error.code.value
        response = self._envelope()(error)
        retry_after_s = error.retry_after_s or USUAL_RETRY_AFTER_S.get(error.code)
        if retry_after_s is not None:
            response.headers["Retry-After"] = str(retry_after_s)
        if error.code is ErrorCode.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        if error.ran or error.code in IN_VAIN:
            response.headers["X-Should-Retry"] = "false"
        return response

    def respond_to_http(self, error: HTTPException) -> Response:
        """The response to this request for an error that Flask or Werkzeug raised."""
        response = self.respond(from_http(error))
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    def _envelope(self) -> Envelope:
        for prefix, envelope in self._envelopes.items():
            if request.path == prefix or request.path.startswith(prefix + "/"):
                return envelope
        return native


def from_http(error: HTTPException) -> ClinvkError:
    """The error of ours that says the same as one of Werkzeug's."""
    code = CODE_OF_STATUS.get(error.code or 500, ErrorCode.INTERNAL)
    match code:
        case ErrorCode.NOT_FOUND:
            message = f"there is nothing at {request.path}{_instead(request.path)}"
        case ErrorCode.METHOD_NOT_ALLOWED:
            valid = getattr(error, "valid_methods", None) or ()
            taken = ", ".join(sorted({*valid} - {"HEAD", "OPTIONS"}))
            message = f"{request.path} does not take {request.method}" + (f": it takes {taken}" if taken else "")
        case ErrorCode.PAYLOAD_TOO_LARGE:
            message = f"the body is larger than {request.max_content_length} bytes (server.max_request_body_bytes)"
        case ErrorCode.INTERNAL:
            message = "an error of the server; its log says more under this request id"
        case _:
            message = error.description or error.name
    return ClinvkError(code, message)


def _instead(path: str) -> str:
    """What somebody who asked for this has most likely meant; "" where that cannot be guessed."""
    if path.endswith("/responses"):
        return ": of OpenAI's APIs there is Chat Completions (POST /openai/v1/chat/completions)"
    if path.startswith("/v1/") or path in WITHOUT_DIALECT:
        return ": a client's base URL ends in /openai/v1 or /anthropic here"
    return ""


def of_failure(failed: Failed) -> ClinvkError:
    """The error for a run that failed before anything of it was sent.  The CLI had run: nobody must try again."""
    return ClinvkError(
        failed.code, failed.message, retry_after_s=failed.retry_after_s, ran=True, exit_code=failed.exit_code
    )
