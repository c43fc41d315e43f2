"""Recordings without what differs from run to run: ids, times, places, versions, the counts of a CLI's own prompts."""

import re
from collections.abc import Mapping
from typing import Any

LONGEST = 200
"""Characters of a text that are kept."""

PATTERNS = (
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d(?:[.-]\d+)?(?:Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"(?:http://)?127\.0\.0\.1:\d+"), "<model-server>"),
    (re.compile(r"\b(msg|req|call|toolu|resp|item|fc|rs|task|chatcmpl)_[0-9A-Za-z]{6,}"), r"\1_<id>"),
    (re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{16})\b"), "<id>"),
    (re.compile(r"/runs/\d+-[\d.]+/"), "/runs/<worker>/"),
    (re.compile(r"\bsys=\d+"), "sys=<count>"),
    (re.compile(r"\btool_result=.* \| ", re.DOTALL), "tool_result=<result> | "),
    (re.compile(r"(cc_version=<version>)\.[0-9a-f]{3}\b"), r"\1"),
)
TIMES = re.compile(r"(_ms|Ms|_at|At|_s|_secs|_seconds|[Tt]imestamp|[Dd]uration|[Ee]lapsed|[Dd]elay)$")
COUNTS = re.compile(r"([Tt]oken|[Cc]ost|^used$|^total$|[Cc]ontextWindow|^(input|cached)$)|USD")


def normal(value: Any, places: Mapping[str, str], key: str = "") -> Any:
    """A JSON value in its normal form.

    ``places`` are texts of this run and what stands for each; those that begin with another come first by themselves.
    Times become 0 and counts 1, or 0 where nothing was counted: a JSON type never changes.
    """
    match value:
        case dict():
            return {text(name, places): normal(part, places, name) for name, part in value.items()}
        case list():
            return [normal(part, places, key) for part in value]
        case str():
            return text(value, places)
        case bool() | None:
            return value
        case int() | float() if TIMES.search(key):
            return 0
        case int() | float() if COUNTS.search(key):
            return int(value > 0)
        case _:
            return value


def text(value: str, places: Mapping[str, str]) -> str:
    """A text in its normal form: cut, and with names for what is different each time."""
    for place in sorted(places, key=len, reverse=True):
        value = value.replace(place, places[place])
    for pattern, name in PATTERNS:
        value = pattern.sub(name, value)
    return value if len(value) <= LONGEST else value[:LONGEST] + "…"
