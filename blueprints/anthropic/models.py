"""The list of models, in pages."""

from collections.abc import Sequence
from typing import Any

from services.errors import ClinvkError
from services.models import ModelEntry

UNKNOWN_DATE = "1970-01-01T00:00:00Z"
"""Anthropic's documentation: the time of release may be an epoch value where it is unknown."""


def described(entry: ModelEntry) -> dict[str, str]:
    """A model as Anthropic's clients see it."""
    return {
        "type": "model",
        "id": entry.id,
        "display_name": entry.id,
        "created_at": UNKNOWN_DATE,
        "lifecycle": "active",
    }


def page(entries: Sequence[ModelEntry], *, limit: int, after_id: str = "", before_id: str = "") -> dict[str, Any]:
    """A page: the first ones, those after one, or those before one.  Raises ClinvkError for an id that is not there."""
    if after_id and before_id:
        raise ClinvkError.field("before_id", "cannot be given together with after_id")
    if after_id:
        entries = entries[_place(entries, "after_id", after_id) + 1 :]
    if before_id:
        entries = entries[: _place(entries, "before_id", before_id)]
    shown = entries[-limit:] if before_id else entries[:limit]
    return {
        "data": [described(entry) for entry in shown],
        "has_more": len(shown) < len(entries),
        "first_id": shown[0].id if shown else None,
        "last_id": shown[-1].id if shown else None,
    }


def _place(entries: Sequence[ModelEntry], name: str, wanted: str) -> int:
    for place, entry in enumerate(entries):
        if entry.id == wanted:
            return place
    raise ClinvkError.field(name, f"there is no model {wanted[:100]!r}")
