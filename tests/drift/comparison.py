"""What is different between two recordings of one scenario."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.drift import known
from tests.drift.recording import Json, Recording, Recordings
from tests.drift.shape import Fields, Kind, Path, Shape, shape

NOTHING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.  ``matters`` where clinvk reads that place, or where its clients would see it."""

    text: str
    matters: bool


class Verdict(Enum):
    """What there is to say of a scenario, the worst last."""

    SAME = "same"
    NEW = "new"
    """There is no recording to compare it with."""
    UNREAD = "changed, unread"
    """Lines have changed in places that clinvk does not look at."""
    CHANGED = "changed"
    ANSWER = "answers differ"
    FAILED = "failed"

    @property
    def is_harmless(self) -> bool:
        """Whether clinvk works with it as before, as far as can be seen."""
        return self in (Verdict.SAME, Verdict.UNREAD)


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a scenario; the differences that matter come first."""

    scenario: str
    verdict: Verdict
    differences: tuple[Difference, ...] = ()


def compare(cli: str, old: Recordings, new: Recordings) -> list[Finding]:
    """A finding for each scenario of either, in the order of the new ones; one that was not played has failed."""
    found = [compare_one(cli, name, old.get(name), recording) for name, recording in new.items()]
    missing = Difference("was not played", matters=True)
    return found + [Finding(name, Verdict.FAILED, (missing,)) for name in old if name not in new]


def compare_one(cli: str, name: str, old: Recording | None, new: Recording) -> Finding:
    """The finding for one scenario."""
    if "failed" in new.answer:
        return Finding(name, Verdict.FAILED, (Difference(new.answer["failed"], matters=True),))
    if old is None:
        return Finding(name, Verdict.NEW)
    answers = list(in_answers(old.answer, new.answer))
    shapes = list(in_shapes(cli, shape(old), shape(new)))
    every = tuple(sorted(answers + shapes, key=lambda difference: not difference.matters))
    if answers:
        return Finding(name, Verdict.ANSWER, every)
    if any(difference.matters for difference in shapes):
        return Finding(name, Verdict.CHANGED, every)
    return Finding(name, Verdict.UNREAD if every else Verdict.SAME, every)


def in_answers(old: Json, new: Json, path: str = "answer") -> Iterator[Difference]:
    """Each value that clients see differently."""
    for name in {**old, **new}:
        before, after = old.get(name, NOTHING), new.get(name, NOTHING)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from in_answers(before, after, f"{path}.{name}")
        elif before != after:
            yield Difference(f"{path}.{name}: {_shown(before)} → {_shown(after)}", matters=True)


def in_shapes(cli: str, old: Shape, new: Shape) -> Iterator[Difference]:
    """Kinds that are gone or new, the fields of those that are there still, and their order."""
    for kind in sorted(old.fields.keys() - new.fields.keys()):
        yield Difference(f"- {' '.join(kind)}", known.reads_kind(cli, kind))
    for kind in sorted(new.fields.keys() - old.fields.keys()):
        yield Difference(f"+ {' '.join(kind)}", known.reads_kind(cli, kind))
    for kind in sorted(old.fields.keys() & new.fields.keys()):
        yield from in_fields(cli, kind, old.fields[kind], new.fields[kind])
    for first, second in sorted(old.before):
        if (second, first) in new.before and known.has_a_place(cli, first) and known.has_a_place(cli, second):
            both_read = known.reads_kind(cli, first) and known.reads_kind(cli, second)
            yield Difference(f"{' '.join(second)} now before {' '.join(first)}", both_read)


def in_fields(cli: str, kind: Kind, old: Fields, new: Fields) -> Iterator[Difference]:
    """Fields that are gone, new, or of another type; of one whose container is gone nothing more is said.

    A new field by itself takes nothing away: where clinvk heeds it, the answer tells.
    """
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path, frozenset()), new.get(path, frozenset())
        if before == after or _told_above(path, old, new):
            continue
        place = f"{' '.join(kind)}: {_dotted(path)}"
        matters = known.reads_field(cli, kind, path)
        if not after:
            yield Difference(f"- {place} ({_types(before)})", matters)
        elif not before:
            yield Difference(f"+ {place} ({_types(after)})", matters=False)
        else:
            yield Difference(f"~ {place}: {_types(before)} → {_types(after)}", matters)


def _told_above(path: Path, old: Fields, new: Fields) -> bool:
    """Whether what this field stands in is gone or new itself."""
    above = path[:-1]
    return bool(path) and (above in old) != (above in new)


def _dotted(path: Path) -> str:
    return ".".join(path).replace(".[]", "[]")


def _types(types: frozenset[str]) -> str:
    return "|".join(sorted(types))


def _shown(value: Any) -> str:
    return "nothing" if value is NOTHING else repr(value)
