"""JSON as a server should read it: strict, bounded, and able to say where something is wrong."""

import json
import math
from collections.abc import Iterable
from typing import Any

from services.errors import ClinvkError, Problem

MAX_DEPTH = 64
MAX_VALUES = 100_000
"""A million take a second of a thread to look at, and hundreds of megabytes; what is asked of a model is text."""
MAX_INTEGER_DIGITS = 1_000

Place = tuple["Place", str | int] | None
"""Where a value stands: the place of what holds it, and its key or index there; None is the document."""


class _Repeated(dict[str, Any]):
    """An object in which a key was given more than once."""

    key = ""


def parse_json(body: bytes) -> Any:
    """The value of a JSON document.

    Raises ClinvkError ``invalid_request``, naming the field where there is one, for what is no JSON or not UTF-8, for
    NUL characters, lone surrogates, numbers that are not finite, keys given twice, and absurd nesting or size.
    """
    if has_more_values(body, MAX_VALUES):
        raise ClinvkError.field("body", f"has more than {MAX_VALUES} values")
    try:
        value = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_constant=float,
        )
    except UnicodeDecodeError:
        raise ClinvkError.field("body", "must be UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ClinvkError.field("body", f"is not valid JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise ClinvkError.field("body", f"is nested more than {MAX_DEPTH} levels deep") from None
    _judge(value)
    return value


def has_more_values(body: bytes, limit: int) -> bool:
    """Whether a JSON document has more values than that, without making any; an empty list or object counts as two."""

    def separators(text: bytes) -> int:
        return text.count(b",") + text.count(b"[") + text.count(b"{")

    if separators(body) < limit:
        return False
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")  # now a text goes from one quote to the next
    texts = bare.count(b'"') // 2
    if texts > 2 * limit:  # each is a value or the name of one
        return True
    return 1 + sum(map(separators, bare.split(b'"')[::2])) > limit


def location(place: Place) -> str:
    """A place as clients write it: ``tasks[1].backend``; the document itself is ``body``."""
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    return path(reversed(keys)) or "body"


def path(keys: Iterable[str | int]) -> str:
    """Keys and indices as clients write them: ``tasks[1].backend``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return _printable(text.removeprefix("."))


def _printable(text: str) -> str:
    return text[:200].encode("utf-8", "replace").decode("utf-8")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    repeated = _Repeated(made)
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            repeated.key = key
            break
        seen.add(key)
    return repeated


def _integer(digits: str) -> float:
    # int() takes quadratic time and refuses thousands of digits; nothing here needs them
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else math.inf


def _judge(document: Any) -> None:
    """Look at every value of a document.  Raises ClinvkError for the first that must not be."""
    _require(_fault(document), None)
    waiting: list[tuple[Any, Place, int]] = [(document, None, 1)] if isinstance(document, dict | list) else []
    while waiting:
        container, place, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ClinvkError.field(location(place), f"is nested more than {MAX_DEPTH} levels deep")
        if isinstance(container, dict):
            if isinstance(container, _Repeated):
                raise ClinvkError.field(location((place, container.key)), "is given more than once")
            for key in container:
                _require(_fault(key), (place, key), "name ")
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, dict | list):
                waiting.append((value, (place, key), depth + 1))
            elif not isinstance(value, bool | int):
                _require(_fault(value), (place, key))


def _require(fault: str, place: Place, what: str = "") -> None:
    if fault:
        raise ClinvkError.field(location(place), what + fault)


def _fault(value: Any) -> str:
    """What is wrong with a scalar; "" when nothing is."""
    if isinstance(value, str):
        if "\0" in value:
            return "must not contain NUL characters"
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return "must not contain lone surrogates"
    elif isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    return ""


def problems_of(messages: Any, keys: tuple[str | int, ...] = ()) -> list[Problem]:
    """A schema's error messages, nested as the document is, as a flat list with locations."""
    if isinstance(messages, dict):
        found: list[Problem] = []
        for key, below in messages.items():
            found += problems_of(below, keys if key == "_schema" else (*keys, key))
        return found
    texts = messages if isinstance(messages, list) else [messages]
    return [Problem(path(keys) or "body", str(text)) for text in texts]
