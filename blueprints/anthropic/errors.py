"""Anthropic's error envelope.  https://platform.claude.com/docs/en/api/errors"""

from typing import Any

import marshmallow as ma
import orjson
from flask import Response
from marshmallow import fields

from blueprints.api_document import by_status
from blueprints.fields import about
from services.errors import STATUS, ClinvkError, ErrorCode
from services.tracing import request_id

STATUS_OVERLOADED = 529
"""Anthropic's own, for what is 503 elsewhere."""

TYPES: dict[ErrorCode, str] = {
    ErrorCode.INVALID_REQUEST: "invalid_request_error",
    ErrorCode.FLAG_NOT_ALLOWED: "invalid_request_error",
    ErrorCode.WORKDIR_NOT_ALLOWED: "invalid_request_error",
    ErrorCode.UNKNOWN_BACKEND: "not_found_error",
    ErrorCode.UNKNOWN_MODEL: "not_found_error",
    ErrorCode.CONTEXT_TOO_LONG: "invalid_request_error",
    ErrorCode.METHOD_NOT_ALLOWED: "invalid_request_error",
    ErrorCode.UNAUTHORIZED: "authentication_error",
    ErrorCode.ORIGIN_NOT_ALLOWED: "permission_error",
    ErrorCode.NOT_PERMITTED: "permission_error",
    ErrorCode.NOT_FOUND: "not_found_error",
    ErrorCode.SESSION_NOT_FOUND: "not_found_error",
    ErrorCode.SESSION_BUSY: "invalid_request_error",
    ErrorCode.SESSION_EXPIRED: "invalid_request_error",
    ErrorCode.AMBIGUOUS_ID: "invalid_request_error",
    ErrorCode.CANCELED: "invalid_request_error",
    ErrorCode.REQUEST_TIMEOUT: "timeout_error",
    ErrorCode.PAYLOAD_TOO_LARGE: "request_too_large",
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: "invalid_request_error",
    ErrorCode.RATE_LIMITED: "rate_limit_error",
    ErrorCode.BACKEND_FAILED: "api_error",
    ErrorCode.BACKEND_AUTH_FAILED: "api_error",
    ErrorCode.BACKEND_UNAVAILABLE: "api_error",
    ErrorCode.OVERLOADED: "overloaded_error",
    ErrorCode.TIMEOUT: "timeout_error",
    ErrorCode.INTERNAL: "api_error",
}
"""What each code is called here."""


KINDS = [(STATUS_OVERLOADED if code is ErrorCode.OVERLOADED else STATUS[code], kind) for code, kind in TYPES.items()]


class ErrorDetailSchema(ma.Schema):
    """What went wrong."""

    type = fields.String(
        metadata=about(f"The kind of error. By status: {by_status(KINDS)}.") | {"enum": sorted(set(TYPES.values()))}
    )
    message = fields.String(metadata=about("What happened, and what to do about it."))


class AnthropicErrorSchema(ma.Schema):
    """An error, as Anthropic's API gives it."""

    type = fields.Constant("error", metadata=about("Always `error`."))
    error = fields.Nested(ErrorDetailSchema)
    request_id = fields.String(metadata=about("The request, as in the header `request-id`."))


def described(code: ErrorCode, message: str, request: str) -> dict[str, Any]:
    """The envelope, in the body of a response or in a stream."""
    return {"type": "error", "error": {"type": TYPES[code], "message": message}, "request_id": request}


def envelope(error: ClinvkError) -> Response:
    """The response for an error."""
    status = STATUS_OVERLOADED if error.code is ErrorCode.OVERLOADED else error.status
    body = orjson.dumps(described(error.code, error.message, request_id.get()))
    return with_request_id(Response(body, status, content_type="application/json"))


def with_request_id(response: Response) -> Response:
    """The response with the request's id under the name that Anthropic's SDKs read."""
    response.headers["Request-Id"] = request_id.get()
    return response
