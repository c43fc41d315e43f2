"""Reading what a CLI prints without trusting its shape: every function takes anything and raises nothing."""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

NOTHING: Mapping[str, Any] = {}
STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


def parse_object(line: bytes) -> Mapping[str, Any] | None:
    """The JSON object on a line; None when there is none.

    Broken UTF-8 and halves of surrogate pairs, which a CLI leaves where it cuts a text, become replacement characters.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = _repaired(line)
    return value if isinstance(value, dict) else None


def _repaired(line: bytes) -> Any:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(line.decode("utf-8", "replace"))
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def without_comments(text: str) -> str:
    """JSON from a settings file that may have comments."""
    return STRING_OR_COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)


def parse_commented(text: str) -> Mapping[str, Any] | None:
    """The JSON object of a settings file that may have comments; None when there is none."""
    return parse_object(without_comments(text).encode())


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else NOTHING


def items(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """The value if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int:
    """The value if it is a whole number that counts something, else 0."""
    return value if type(value) is int and value > 0 else 0


def number(value: Any) -> float | None:
    """The value if it is a number, else None."""
    return float(value) if type(value) in (int, float) else None
