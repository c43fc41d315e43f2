"""OpenAI's error envelope.  https://platform.openai.com/docs/guides/error-codes"""

from typing import Any

import marshmallow as ma
import orjson
from flask import Response
from marshmallow import fields

from blueprints.api_document import by_status
from blueprints.fields import about
from services.errors import STATUS, ClinvkError, ErrorCode

INVALID = "invalid_request_error"

KINDS: dict[ErrorCode, tuple[str, str | None]] = {
    ErrorCode.INVALID_REQUEST: (INVALID, None),
    ErrorCode.FLAG_NOT_ALLOWED: (INVALID, "flag_not_allowed"),
    ErrorCode.WORKDIR_NOT_ALLOWED: (INVALID, "workdir_not_allowed"),
    ErrorCode.UNKNOWN_BACKEND: (INVALID, "model_not_found"),
    ErrorCode.UNKNOWN_MODEL: (INVALID, "model_not_found"),
    ErrorCode.CONTEXT_TOO_LONG: (INVALID, "context_length_exceeded"),
    ErrorCode.METHOD_NOT_ALLOWED: (INVALID, "method_not_allowed"),
    ErrorCode.UNAUTHORIZED: ("authentication_error", "invalid_api_key"),
    ErrorCode.ORIGIN_NOT_ALLOWED: ("permission_error", "origin_not_allowed"),
    ErrorCode.NOT_PERMITTED: ("permission_error", "not_permitted"),
    ErrorCode.NOT_FOUND: (INVALID, "not_found"),
    ErrorCode.SESSION_NOT_FOUND: (INVALID, "not_found"),
    ErrorCode.SESSION_BUSY: ("conflict", "session_busy"),
    ErrorCode.SESSION_EXPIRED: (INVALID, "session_expired"),
    ErrorCode.AMBIGUOUS_ID: ("conflict", "ambiguous_id"),
    ErrorCode.CANCELED: ("conflict", "canceled"),
    ErrorCode.REQUEST_TIMEOUT: ("server_error", "request_timeout"),
    ErrorCode.PAYLOAD_TOO_LARGE: (INVALID, "payload_too_large"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: (INVALID, "unsupported_media_type"),
    ErrorCode.RATE_LIMITED: ("rate_limit_error", "rate_limit_exceeded"),
    ErrorCode.BACKEND_FAILED: ("api_error", "backend_failed"),
    ErrorCode.BACKEND_AUTH_FAILED: ("api_error", "backend_auth_failed"),
    ErrorCode.BACKEND_UNAVAILABLE: ("server_error", "overloaded"),
    ErrorCode.OVERLOADED: ("server_error", "overloaded"),
    ErrorCode.TIMEOUT: ("server_error", "timeout"),
    ErrorCode.INTERNAL: ("api_error", "internal"),
}
"""What each code is called here: the type, and the code."""


CODES = [(STATUS[code], name) for code, (_, name) in KINDS.items() if name is not None]


class OpenAIErrorDetailSchema(ma.Schema):
    """What went wrong."""

    message = fields.String(metadata=about("What happened, and what to do about it."))
    type = fields.String(metadata={"description": "The kind of error.", "enum": sorted({t for t, _ in KINDS.values()})})
    param = fields.String(allow_none=True, metadata=about("The field at fault, such as `messages[1].content`."))
    code = fields.String(
        allow_none=True, metadata=about(f"The error, to be told apart by programs. By status: {by_status(CODES)}.")
    )


class OpenAIErrorSchema(ma.Schema):
    """An error, as OpenAI's API gives it."""

    error = fields.Nested(OpenAIErrorDetailSchema)


def described(code: ErrorCode, message: str, param: str | None = None) -> dict[str, Any]:
    """The envelope, in the body of a response or in a stream; the SDKs' schema wants all four members."""
    kind, name = KINDS[code]
    return {"error": {"message": message, "type": kind, "param": param, "code": name}}


def envelope(error: ClinvkError) -> Response:
    """The response for an error."""
    param = error.problems[0].location if error.problems else None
    body = orjson.dumps(described(error.code, error.message, param))
    return Response(body, error.status, content_type="application/json")
