"""What waits, and who has to go."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from services.shelf import Bounds, Shelf


@dataclass(eq=False)
class Thing:
    key: Hashable
    group: str = "claude"
    idle_s: float | None = None


def shelf(total: int = 3, idle_s: float = 10, groups: Mapping[str, int] | None = None) -> Shelf[Thing]:
    return Shelf(Bounds(total, idle_s, dict(groups or {})))


def filled(shelf: Shelf[Thing], *things: Thing) -> Shelf[Thing]:
    for number, thing in enumerate(things):
        shelf.put(thing, float(number))
    return shelf


def test_equal_keys_are_interchangeable_and_the_longest_there_comes_first() -> None:
    one, other, more = Thing("a"), Thing("b"), Thing("a")
    full = filled(shelf(), one, other, more)
    assert [full.take("a", 5.0), full.take("a", 5.0), full.take("a", 5.0)] == [one, more, None]
    assert list(full) == [other]


def test_nothing_fits_a_key_that_nothing_waits_for() -> None:
    assert shelf().take("a", 0.0) is None


def test_the_least_recently_used_goes_first() -> None:
    one, other, third = Thing("a"), Thing("b"), Thing("c")
    full = filled(shelf(), one, other, third, again := Thing("a"))
    assert full.take("a", 9.0) is one
    assert full.oldest() is other
    assert [*full] == [third, again]


def test_what_is_full_makes_room_for_another_key() -> None:
    one, other, third = Thing("a"), Thing("b"), Thing("c")
    full = filled(shelf(), one, other, third)
    assert full.room_for("d", "claude") == (True, [one])
    assert [*full] == [other, third]


def test_nothing_goes_for_its_like() -> None:
    full = filled(shelf(2), Thing("a"), Thing("a"))
    assert full.room_for("a", "claude") == (False, [])
    assert len(full) == 2


def test_of_a_group_with_a_limit_its_own_go() -> None:
    other, one, mine = Thing("x", "codex"), Thing("a"), Thing("b")
    full = filled(shelf(5, groups={"claude": 2}), other, one, mine)
    assert full.room_for("c", "claude") == (True, [one])
    assert full.room_for("y", "codex") == (True, [])
    assert [*full] == [other, mine]


def test_a_group_that_may_have_none_gets_no_room_and_takes_none() -> None:
    full = filled(shelf(1, groups={"gemini": 0}), Thing("a"))
    assert full.room_for("g", "gemini") == (False, [])
    assert len(full) == 1


def test_what_holds_nothing_has_no_room() -> None:
    assert shelf(0).room_for("a", "claude") == (False, [])


def test_a_use_of_the_key_keeps_all_that_wait_for_it() -> None:
    one, like_it, other = Thing("a"), Thing("a"), Thing("b")
    full = filled(shelf(idle_s=10), one, like_it, other)  # used at 1 and 2
    assert full.next_due_s() == 11.0
    full.take("a", 8.0)
    assert (full.overdue(12.5), [*full]) == ([other], [like_it])
    assert full.next_due_s() == 18.0
    assert (full.overdue(17.9), full.overdue(18.0)) == ([], [like_it])
    assert full.next_due_s() is None


def test_one_may_have_a_time_of_its_own() -> None:
    brief, usual = Thing("a", idle_s=2), Thing("b")
    full = filled(shelf(idle_s=10), usual, brief)  # used at 0 and 1
    assert full.next_due_s() == 3.0
    assert (full.overdue(3.0), full.next_due_s()) == ([brief], 10.0)


def test_what_was_removed_is_not_removed_again() -> None:
    full = filled(shelf(), one := Thing("a"))
    assert [full.remove(one), full.remove(one)] == [True, False]
    assert (len(full), full.next_due_s()) == (0, None)


def test_clearing_gives_everything() -> None:
    full = filled(shelf(), one := Thing("a"), other := Thing("b"))
    assert (full.clear(), len(full), full.next_due_s()) == ([one, other], 0, None)
