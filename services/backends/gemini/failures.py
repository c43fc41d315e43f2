"""What gemini says when it fails, and what that means.  The one place that reads its words."""

from collections.abc import Mapping
from typing import Any

from services.backends.base import code_for_status
from services.backends.lenient import mapping, parse_object, text
from services.errors import ErrorCode
from services.events import Failed

LOGIN_HINT = "run `gemini` and log in, as the user the server runs as, or set GEMINI_API_KEY for the server"

WORDS = (
    ("api key not valid", ErrorCode.BACKEND_AUTH_FAILED),
    ("api key is missing", ErrorCode.BACKEND_AUTH_FAILED),
    ("authentication required", ErrorCode.BACKEND_AUTH_FAILED),
    ("unauthenticated", ErrorCode.BACKEND_AUTH_FAILED),
    ("you must specify the gemini_api_key", ErrorCode.BACKEND_AUTH_FAILED),
    ("please set an auth method", ErrorCode.BACKEND_AUTH_FAILED),
    ("exceeds the maximum number of tokens", ErrorCode.CONTEXT_TOO_LONG),
    ("context window will overflow", ErrorCode.CONTEXT_TOO_LONG),
    ("no previous sessions found", ErrorCode.SESSION_EXPIRED),
    ("is not found", ErrorCode.UNKNOWN_MODEL),
    ("model not found", ErrorCode.UNKNOWN_MODEL),
    ("quota", ErrorCode.RATE_LIMITED),
    ("overloaded", ErrorCode.OVERLOADED),
)
"""Words (in lower case) that say more than the status they come with, or come with none."""

EXIT_CODES = {41: ErrorCode.BACKEND_AUTH_FAILED}
PLAINER = {"terminated": "its provider broke the answer off"}
AUTH_REQUIRED = -32000
"""ACP's own code for it; those above zero are the provider's HTTP status."""


def failure_of(error: Mapping[str, Any], model: str) -> Failed:
    """The failure that the error of a response means."""
    status = error.get("code")
    said = text(mapping(error.get("data")).get("details")) or text(error.get("message")) or "it gave no reason"
    if said.startswith("{"):  # the body of the provider's answer
        told = mapping(mapping(parse_object(said.encode())).get("error"))
        status = told.get("code") or status
        said = text(told.get("message")) or said
    return explained(_classify(said, status if isinstance(status, int) else None), PLAINER.get(said, said), model)


def _classify(said: str, status: int | None) -> ErrorCode:
    lowered = said[:4096].lower()
    by_words = next((code for words, code in WORDS if words in lowered), None)
    if by_words is not None:
        return by_words
    if status == AUTH_REQUIRED:
        return ErrorCode.BACKEND_AUTH_FAILED
    return code_for_status(status)


def explained(code: ErrorCode, said: str, model: str = "") -> Failed:
    """The failure for people: what happened, and what to do about it."""
    match code:
        case ErrorCode.BACKEND_AUTH_FAILED:
            message = f"gemini is not logged in, or its provider refused the login: {LOGIN_HINT} (it said: {said})"
        case ErrorCode.UNKNOWN_MODEL:
            which = f"the model {model!r}" if model else "its model"
            message = f"gemini does not know {which}, or may not use it: ask for another (it said: {said})"
        case ErrorCode.CONTEXT_TOO_LONG:
            message = f"the prompt does not fit into the model's context: shorten it (gemini said: {said})"
        case ErrorCode.RATE_LIMITED:
            message = f"gemini's provider limits the rate: try again later (it said: {said})"
        case ErrorCode.OVERLOADED:
            message = f"gemini's provider is overloaded: try again later (it said: {said})"
        case ErrorCode.SESSION_EXPIRED:
            message = f"gemini no longer knows this session: begin a new one (it said: {said})"
        case _:
            message = f"gemini failed: {said}"
    return Failed(code, message)


def unexplained(exit_code: int, stderr_tail: str) -> Failed:
    """The failure of a gemini that ended before it had answered."""
    ended = f"it was killed by signal {-exit_code}" if exit_code < 0 else f"it ended with exit code {exit_code}"
    code = EXIT_CODES.get(exit_code) or _classify(stderr_tail, None)
    last_words = f": {stderr_tail}" if stderr_tail else ""
    return explained(code, f"{ended} before it had finished{last_words}")
