"""The shape of a recording: which kinds of lines a CLI printed, which fields of which JSON type, in which order."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from tests.drift.recording import Json, Recording

NAMING = ("method", "type", "subtype", "sessionUpdate")
"""Fields that say of what kind a line is."""
NAMED_WITHIN = ("params", "event", "delta", "content_block", "message", "content", "response", "item", "update")
"""Where more of them stand."""
IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*\Z")

Kind = tuple[str, ...]
"""The names of a kind of line, outermost first: ``("session/update", "agent_message_chunk", "text")``."""
Path = tuple[str, ...]
"""Where a field stands.  ``[]`` is any element of a list, ``*`` any key that is no name, such as a model's."""
Fields = Mapping[Path, frozenset[str]]
"""The JSON types that were seen in each place."""


@dataclass(frozen=True, slots=True)
class Shape:
    """``before`` has the pairs of kinds of which every line of the first came before every one of the second."""

    fields: Mapping[Kind, Fields]
    before: frozenset[tuple[Kind, Kind]]


def shape(recording: Recording) -> Shape:
    """The shape of all that a CLI printed in a recording."""
    fields: dict[Kind, dict[Path, frozenset[str]]] = defaultdict(dict)
    before: set[tuple[Kind, Kind]] = set()
    after: set[tuple[Kind, Kind]] = set()
    for process in recording.processes():
        printed = list(kinds(process))
        for kind, line in printed:
            for path, type_name in places(line):
                fields[kind][path] = fields[kind].get(path, frozenset()) | {type_name}
        order = [kind for kind, _ in printed]
        for first, second in permutations(set(order), 2):
            in_order = _last(order, first) < order.index(second)
            (before if in_order else after).add((first, second))
    return Shape(fields, frozenset(before - after))


def kinds(process: Sequence[Json]) -> Iterator[tuple[Kind, Any]]:
    """What a process printed, each line with its kind; an answer by id is one to the method that it was asked by."""
    asked: dict[Any, str] = {}
    for entry in process:
        match entry:
            case {"to": {"id": int() | str() as number, "method": str() as method}}:
                asked[number] = method
            case {"from": {"id": int() | str() as number, "result": _} as line} if number in asked:
                yield ("answer to", asked[number]), line
            case {"from": {"id": int() | str() as number, "error": _} as line} if number in asked:
                yield ("refusal of", asked[number]), line
            case {"from": line}:
                yield tuple(names(line)) or ("other",), line
            case _:
                pass


def names(line: Any) -> Iterator[str]:
    """What a line is called, by itself and by what is in it."""
    if isinstance(line, list):
        for part in line:
            yield from names(part)
    elif isinstance(line, Mapping):
        yield from (line[name] for name in NAMING if isinstance(line.get(name), str))
        for name in NAMED_WITHIN:
            yield from names(line.get(name))


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every place in a JSON value, with its type."""
    yield path, type_of(value)
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from places(part, (*path, name if IDENTIFIER.match(name) else "*"))
    elif isinstance(value, list):
        for part in value:
            yield from places(part, (*path, "[]"))


def type_of(value: Any) -> str:
    """The JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _last(order: Sequence[Kind], kind: Kind) -> int:
    return len(order) - 1 - order[::-1].index(kind)
