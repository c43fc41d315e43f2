"""What can go wrong, once for all dialects.

Services raise :class:`ClinvkError`; a run that started and failed ends in an
:class:`~services.events.Failed` event instead.  Both carry an :class:`ErrorCode`, and the blueprints
turn the code into the shape and the words of their dialect.  Nobody branches on the text of a message.
"""

from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The error codes of the contract; the value is what clients see."""

    INVALID_REQUEST = "invalid_request"
    FLAG_NOT_ALLOWED = "flag_not_allowed"
    WORKDIR_NOT_ALLOWED = "workdir_not_allowed"
    UNKNOWN_BACKEND = "unknown_backend"
    UNKNOWN_MODEL = "unknown_model"
    CONTEXT_TOO_LONG = "context_too_long"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNAUTHORIZED = "unauthorized"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    NOT_PERMITTED = "not_permitted"
    NOT_FOUND = "not_found"
    SESSION_NOT_FOUND = "session_not_found"
    SESSION_BUSY = "session_busy"
    SESSION_EXPIRED = "session_expired"
    AMBIGUOUS_ID = "ambiguous_id"
    CANCELED = "canceled"
    REQUEST_TIMEOUT = "request_timeout"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RATE_LIMITED = "rate_limited"
    BACKEND_FAILED = "backend_failed"
    BACKEND_AUTH_FAILED = "backend_auth_failed"
    BACKEND_UNAVAILABLE = "backend_unavailable"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


STATUS: dict[ErrorCode, int] = {
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.FLAG_NOT_ALLOWED: 400,
    ErrorCode.WORKDIR_NOT_ALLOWED: 400,
    ErrorCode.UNKNOWN_BACKEND: 400,
    ErrorCode.UNKNOWN_MODEL: 404,
    ErrorCode.CONTEXT_TOO_LONG: 400,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.ORIGIN_NOT_ALLOWED: 403,
    ErrorCode.NOT_PERMITTED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.SESSION_NOT_FOUND: 404,
    ErrorCode.SESSION_BUSY: 409,
    ErrorCode.SESSION_EXPIRED: 410,
    ErrorCode.AMBIGUOUS_ID: 409,
    ErrorCode.CANCELED: 409,
    ErrorCode.REQUEST_TIMEOUT: 408,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.BACKEND_FAILED: 502,
    ErrorCode.BACKEND_AUTH_FAILED: 502,
    ErrorCode.BACKEND_UNAVAILABLE: 503,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.TIMEOUT: 504,
    ErrorCode.INTERNAL: 500,
}
"""The HTTP status of each code, the same in every dialect but where a dialect says otherwise."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a request: where (``tasks[1].backend``) and what."""

    location: str
    message: str


class ClinvkError(Exception):
    """A request that cannot be carried out.

    ``problems`` names the fields at fault, ``retry_after_s`` says when a retry can help (None: it cannot),
    and ``ran`` whether a CLI had been started, in which case no client must repeat the request by itself; ``exit_code``
    is then how it ended.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        problems: tuple[Problem, ...] = (),
        retry_after_s: int | None = None,
        ran: bool = False,
        exit_code: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.problems = problems
        self.retry_after_s = retry_after_s
        self.ran = ran
        self.exit_code = exit_code

    @property
    def status(self) -> int:
        """The HTTP status of the native dialect."""
        return STATUS[self.code]

    @classmethod
    def field(cls, location: str, message: str, code: ErrorCode = ErrorCode.INVALID_REQUEST) -> "ClinvkError":
        """An error about one field of the request."""
        return cls(code, f"{location}: {message}", problems=(Problem(location, message),))
