"""How often a client may ask: flask-limiter, counting by verified key or else by address."""

import math
import threading
import time
from functools import partial

from flask import Flask, g, request
from flask.typing import ResponseReturnValue
from flask_limiter import HeaderNames, Limiter
from flask_limiter.errors import RateLimitExceeded
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage

from services.errors import ClinvkError, ErrorCode
from services.settings import ServerSettings

EXEMPT = {"/health", "/metrics"}
GUESSES = "guesses"


class OneAtATime(MemoryStorage):
    """Counts in memory, for one thread at a time.

    In the library's own (limits 5.8), two threads that find its timer expired at once start the same new one, and the
    second gets a RuntimeError.
    """

    STORAGE_SCHEME = ["one-at-a-time"]  # noqa: RUF012 - as the library has it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: str) -> None:
        self._turn = threading.Lock()
        super().__init__(uri, wrap_exceptions, **options)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a request; whether it is within the limit."""
        with self._turn:
            return super().acquire_entry(key, limit, expiry, amount)


class RateLimits:
    """The limits of one application; nothing is limited where they are switched off."""

    def __init__(self, app: Flask, server: ServerSettings) -> None:
        self._enabled = server.rate_limit_enabled
        self._window = window(server.rate_limit_rps, server.rate_limit_burst)
        self._limiter = Limiter(
            _who,
            app=app,
            application_limits=[str(self._window)],
            application_limits_exempt_when=_is_exempt,
            headers_enabled=True,
            header_name_mapping={
                HeaderNames.LIMIT: "X-RateLimit-Limit",
                HeaderNames.REMAINING: "X-RateLimit-Remaining",
                HeaderNames.RESET: "X-RateLimit-Reset",
                HeaderNames.RETRY_AFTER: "Retry-After",
            },
            strategy="moving-window",
            storage_uri=server.rate_limit_storage_uri.replace("memory:", f"{OneAtATime.STORAGE_SCHEME[0]}:", 1),
            in_memory_fallback_enabled=True,
            enabled=self._enabled,
        )
        app.register_error_handler(RateLimitExceeded, partial(self._refuse, app))

    def _refuse(self, app: Flask, _: RateLimitExceeded) -> ResponseReturnValue:
        breached = self._limiter.current_limit
        return app.handle_user_exception(_too_many(breached.reset_at if breached is not None else 0.0))

    def check_guesses(self, address: str) -> None:
        """Refuse an address from which too many wrong keys have come, before its next one is looked at.

        Otherwise the one right guess among thousands would still be told.  Raises ClinvkError ``rate_limited``.
        """
        if self._enabled and not self._limiter.limiter.test(self._window, GUESSES, address):
            reset_at_s, _ = self._limiter.limiter.get_window_stats(self._window, GUESSES, address)
            raise _too_many(reset_at_s)

    def count_guess(self, address: str) -> None:
        """A wrong key has come from an address."""
        if self._enabled:
            self._limiter.limiter.hit(self._window, GUESSES, address)


def window(rps: float, burst: int) -> RateLimitItem:
    """The moving window that lets ``burst`` requests come at once and ``rps`` a second in the long run.

    A window lasts whole seconds: where ``burst / rps`` is no whole number it is longer and lets more requests in.
    """
    if rps <= 0 or burst <= 0:
        return RateLimitItemPerSecond(1)
    seconds = math.ceil(burst / rps)
    return RateLimitItemPerSecond(max(burst, math.floor(seconds * rps)), seconds)


def _who() -> str:
    return f"key {g.owner}" if g.owner else f"address {g.address}"


def _is_exempt() -> bool:
    return request.path in EXEMPT or request.method == "OPTIONS"


def _too_many(reset_at_s: float) -> ClinvkError:
    wait_s = max(1, math.ceil(reset_at_s - time.time()))
    message = f"too many requests: the next one can succeed in {wait_s} s"
    return ClinvkError(ErrorCode.RATE_LIMITED, message, retry_after_s=wait_s)
