"""What codex's errors mean."""

import re
from collections.abc import Mapping
from typing import Any

from services.backends.base import code_for_status
from services.backends.lenient import mapping, parse_object, text
from services.errors import ErrorCode
from services.events import Failed

LOGIN_HINT = "run `codex login` as the user the server runs as"

COLORS = re.compile(r"\x1b\[[0-9;]*m")
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\S+ +[A-Z]+ .*\n?", re.MULTILINE)

CODES: Mapping[str, ErrorCode] = {
    # codexErrorInfo
    "contextWindowExceeded": ErrorCode.CONTEXT_TOO_LONG,
    "modelNotFound": ErrorCode.UNKNOWN_MODEL,
    "rateLimitExceeded": ErrorCode.RATE_LIMITED,
    "sessionBudgetExceeded": ErrorCode.RATE_LIMITED,
    "usageLimitExceeded": ErrorCode.RATE_LIMITED,
    "flexUnavailable": ErrorCode.OVERLOADED,
    "policyCapacityUnavailable": ErrorCode.OVERLOADED,
    "serverOverloaded": ErrorCode.OVERLOADED,
    "unauthorized": ErrorCode.BACKEND_AUTH_FAILED,
    # error.code in the body of a provider's answer, which codex passes on as it is
    "context_length_exceeded": ErrorCode.CONTEXT_TOO_LONG,
    "insufficient_quota": ErrorCode.RATE_LIMITED,
    "invalid_api_key": ErrorCode.BACKEND_AUTH_FAILED,
    "invalid_value": ErrorCode.INVALID_REQUEST,
    "model_not_found": ErrorCode.UNKNOWN_MODEL,
    "rate_limit_exceeded": ErrorCode.RATE_LIMITED,
    "unsupported_value": ErrorCode.INVALID_REQUEST,
}

MISSING_VARIABLE = "Missing environment variable"
VARIABLE_HINT = "Set it for the server; a name that begins with neither OPENAI_ nor CODEX_ must be in server.pass_env."

UNKNOWN_THREAD = ("no rollout found for thread", "thread not loaded", "invalid session id", "invalid thread id")

WORDS = (
    (MISSING_VARIABLE, ErrorCode.BACKEND_AUTH_FAILED),
    ("not logged in", ErrorCode.BACKEND_AUTH_FAILED),
    ("rate limit exceeded", ErrorCode.RATE_LIMITED),
    ("model is not supported", ErrorCode.UNKNOWN_MODEL),
    ("failed to read session metadata", ErrorCode.SESSION_EXPIRED),
    ("failed to resolve rollout path", ErrorCode.SESSION_EXPIRED),
    *((words, ErrorCode.SESSION_EXPIRED) for words in UNKNOWN_THREAD),
)
"""For what codex tells in no other way."""


def failure_of(error: Mapping[str, Any]) -> Failed:
    """The failure that an error of codex means: a TurnError, or the error of a JSON-RPC response."""
    said = text(error.get("additionalDetails")) or text(error.get("message")) or "it gave no reason"
    reason, body_code = _from_body(said)
    code = _code(error, body_code, reason)
    if reason.startswith(MISSING_VARIABLE):
        return Failed(code, f"codex failed: {reason} {VARIABLE_HINT}")
    if code is ErrorCode.BACKEND_AUTH_FAILED:
        return Failed(code, f"codex is not logged in, or its key was refused ({reason}): {LOGIN_HINT}")
    if code is ErrorCode.SESSION_EXPIRED:
        return Failed(code, f"codex no longer has this session: {reason}")
    return Failed(code, f"codex failed: {reason}")


def names_no_thread(error: Mapping[str, Any]) -> bool:
    """Whether codex says that it has no such thread."""
    return any(words in text(error.get("message")) for words in UNKNOWN_THREAD)


def ended(exit_code: int, when: str, stderr_tail: str) -> Failed:
    """The failure of a codex that ended by itself, too early or not well."""
    ending = f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited with code {exit_code}"
    words = LOG_LINE.sub("", COLORS.sub("", stderr_tail)).strip()
    message = f"codex {ending} {when}" + (f": {words}" if words else "")
    return Failed(ErrorCode.BACKEND_FAILED, message, exit_code or 1)


def provider_refused(error: Mapping[str, Any]) -> bool:
    """Whether the provider itself said that it cannot serve (and not the way to it failed)."""
    status = _http_status(error)
    return status is not None and (status == 429 or status >= 500)


def _code(error: Mapping[str, Any], body_code: str, reason: str) -> ErrorCode:
    info = error.get("codexErrorInfo")
    known = CODES.get(info if isinstance(info, str) else "") or CODES.get(body_code)
    if known is not None:
        return known
    for words, code in WORDS:
        if words in reason:
            return code
    status = _http_status(error)
    return ErrorCode.BACKEND_FAILED if status == 404 else code_for_status(status)  # an unknown model it names itself


def _http_status(error: Mapping[str, Any]) -> int | None:
    """As in ``{"responseStreamDisconnected": {"httpStatusCode": 503}}``."""
    for detail in mapping(error.get("codexErrorInfo")).values():
        status = mapping(detail).get("httpStatusCode")
        if isinstance(status, int):
            return status
    return None


def _from_body(said: str) -> tuple[str, str]:
    """Message and code of a provider's answer where codex gives its JSON as the message."""
    if not said.startswith("{"):
        return said, ""
    body = mapping(parse_object(said.encode()))
    error = mapping(body.get("error"))
    return text(error.get("message")) or text(body.get("detail")) or said, text(error.get("code"))
