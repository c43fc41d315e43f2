"""What is told of a run when it has ended: to the log, and to whoever counts."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.events import TokenUsage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run that has ended, or that never got a slot.

    ``owner`` stands for the key it was made with.  ``outcome`` is ``done`` or an error code's value; ``exit_code`` is
    None when no CLI was started.  Seconds count from the moment the run was asked for; ``first_text_s`` is None when
    there was no text.  ``warm`` says that the CLI was started in advance.
    """

    run_id: str
    backend: str
    model: str
    session_id: str
    owner: str
    outcome: str
    exit_code: int | None
    queued_s: float
    first_text_s: float | None
    duration_s: float
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = None
    prompt: str = ""
    warm: bool = False


Tell = Callable[[RunReport], None]
"""Is told of every run that has ended, in the thread that closed it; must neither fail nor take long."""


def log_run(report: RunReport, *, prompts: bool) -> None:
    """Write a run's one line to the log; what was asked only with ``prompts``."""
    told: dict[str, Any] = {
        "run_id": report.run_id,
        "backend": report.backend,
        "model": report.model,
        "session_id": report.session_id,
        "key": report.owner,
        "outcome": report.outcome,
        "exit_code": report.exit_code,
        "warm": report.warm or None,
        "queued_ms": _ms(report.queued_s),
        "first_text_ms": _ms(report.first_text_s),
        "duration_ms": _ms(report.duration_s),
        **report.usage.told(),
        "cost_usd": report.cost_usd,
        "prompt": report.prompt if prompts else "",
    }
    log.info("run", extra={name: value for name, value in told.items() if value not in ("", None)})


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
