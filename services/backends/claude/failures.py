"""What claude says when it fails, and what that means.  The one place that reads its words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.backends.base import code_for_status
from services.backends.lenient import count, items, number, text
from services.errors import ErrorCode

LOGIN_HINT = (
    "run `claude` and log in with /login, as the user the server runs as, or set ANTHROPIC_API_KEY for the server"
)

KINDS = {
    "authentication_failed": ErrorCode.BACKEND_AUTH_FAILED,
    "oauth_org_not_allowed": ErrorCode.BACKEND_AUTH_FAILED,
    "rate_limit": ErrorCode.RATE_LIMITED,
    "overloaded": ErrorCode.OVERLOADED,
    "model_not_found": ErrorCode.UNKNOWN_MODEL,
}
"""The ``error`` of an ``assistant`` line that says enough by itself."""

PHRASES = (
    ("prompt is too long", ErrorCode.CONTEXT_TOO_LONG),
    ("request too large", ErrorCode.CONTEXT_TOO_LONG),
    ("no conversation found", ErrorCode.SESSION_EXPIRED),
    ("--resume requires a valid session", ErrorCode.SESSION_EXPIRED),
    ("not logged in", ErrorCode.BACKEND_AUTH_FAILED),
    ("please run /login", ErrorCode.BACKEND_AUTH_FAILED),
    ("invalid api key", ErrorCode.BACKEND_AUTH_FAILED),
    ("failed to authenticate", ErrorCode.BACKEND_AUTH_FAILED),
    ("issue with the selected model", ErrorCode.UNKNOWN_MODEL),
    ("overloaded", ErrorCode.OVERLOADED),
    ("request timed out", ErrorCode.TIMEOUT),
)
"""Words (in lower case) that name a failure where no field does."""

SUBTYPES = {
    "error_max_turns": "it used up the turns it was given (max_turns) before it had finished",
    "error_max_budget_usd": "it used up the money it was given (--max-budget-usd) before it had finished",
    "error_during_execution": "it was interrupted or broke off",
}


def classify(said: str, *, kind: str = "", status: int | None = None) -> ErrorCode:
    """The code of a failure from what claude said, its own name for it, and its provider's HTTP status."""
    lowered = said[:4096].lower()
    by_words = next((code for phrase, code in PHRASES if phrase in lowered), None)
    if by_words in (ErrorCode.CONTEXT_TOO_LONG, ErrorCode.SESSION_EXPIRED):  # a 400 like any other, but for its words
        return by_words
    if kind in KINDS:
        return KINDS[kind]
    if status is not None:
        return code_for_status(status)
    return by_words or ErrorCode.BACKEND_FAILED


def reason_of(result: Mapping[str, Any]) -> str:
    """Why a ``result`` line is no success, in claude's words where it has any."""
    if said := text(result.get("result")):
        return said
    reasons = [text(error) for error in items(result.get("errors"))]
    told = [reason for reason in reasons if reason and not reason.startswith("[ede_diagnostic]")]
    explained = SUBTYPES.get(text(result.get("subtype")))
    if told and result.get("subtype") == "error_during_execution":
        return ": ".join(told)
    return ": ".join(filter(None, [explained, *told])) or "it gave no reason"


def explain(code: ErrorCode, said: str, model: str) -> str:
    """The message for people: what happened, and what to do about it."""
    match code:
        case ErrorCode.BACKEND_AUTH_FAILED:
            return f"claude is not logged in, or its provider refused the login: {LOGIN_HINT} (it said: {said})"
        case ErrorCode.UNKNOWN_MODEL:
            which = f"the model {model!r}" if model else "its model"
            return f"claude does not know {which}, or may not use it: ask for another (it said: {said})"
        case ErrorCode.CONTEXT_TOO_LONG:
            return f"the prompt does not fit into the model's context: shorten it (claude said: {said})"
        case ErrorCode.RATE_LIMITED:
            return f"claude's provider limits the rate: try again later (it said: {said})"
        case ErrorCode.OVERLOADED:
            return f"claude's provider is overloaded: try again later (it said: {said})"
        case ErrorCode.SESSION_EXPIRED:
            return f"claude no longer knows this session: begin a new one (it said: {said})"
        case _:
            return f"claude failed: {said}"


RETRY_BUDGET_S = 45.0
"""How long claude may wait between its attempts, all in all, before the failure is told."""


@dataclass(slots=True)
class Retries:
    """claude's attempts to ask its provider again, as it announces them: minutes of them may change nothing."""

    attempts: int = 0
    status: int | None = None
    kind: str = ""
    delay_s: float = 0.0
    waited_s: float = 0.0

    def note(self, line: Mapping[str, Any]) -> None:
        """Take an ``api_retry`` line."""
        self.attempts = count(line.get("attempt"))
        self.status = count(line.get("error_status")) or None
        self.kind = text(line.get("error"))
        self.delay_s = (number(line.get("retry_delay_ms")) or 0.0) / 1000
        self.waited_s += self.delay_s

    @property
    def hopeless(self) -> bool:
        """Whether to give up now.

        One retry mends a login that only had to be refreshed; who is refused twice is not logged in.
        """
        return self.waited_s > RETRY_BUDGET_S or (self.status in (401, 403) and self.attempts > 1)

    @property
    def why(self) -> str:
        """What the provider said last."""
        return f"HTTP {self.status}" if self.status else "no connection"

    @property
    def retry_after_s(self) -> int | None:
        """When asking again may help."""
        return math.ceil(self.delay_s) or None
