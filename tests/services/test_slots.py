"""Slots are given in order, never more than there are."""

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.errors import ClinvkError, ErrorCode
from services.slots import Slots, Ticket


class SlotMachine(RuleBasedStateMachine):
    """Any order of coming and going."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(limit=2, max_queued=3)
        self.tickets: list[Ticket] = []

    @rule()
    def enter(self) -> None:
        if len(self.tickets) < 5:
            self.tickets.append(self.slots.enter(lambda: None))
            return
        with pytest.raises(ClinvkError) as caught:
            self.slots.enter(lambda: None)
        assert caught.value.code is ErrorCode.OVERLOADED

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), duration_s=st.none() | st.floats(0, 1000))
    def leave(self, data: st.DataObject, duration_s: float | None) -> None:
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        ticket.leave(duration_s)
        ticket.leave(duration_s)

    @invariant()
    def the_first_two_have_slots(self) -> None:
        assert [ticket.granted for ticket in self.tickets] == [True, True, False, False, False][: len(self.tickets)]
        assert self.slots.active == min(2, len(self.tickets))
        assert self.slots.queued == max(0, len(self.tickets) - 2)


TestSlots = SlotMachine.TestCase


class SharedSlotMachine(RuleBasedStateMachine):
    """Any order of coming and going, of three keys that may have two of four slots each."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(limit=4, max_queued=20, per_owner=2)
        self.tickets: list[Ticket] = []

    @precondition(lambda self: len(self.tickets) < 20)
    @rule(owner=st.sampled_from("abc"))
    def enter(self, owner: str) -> None:
        self.tickets.append(self.slots.enter(lambda: None, owner))

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1))).leave()

    @invariant()
    def nobody_has_too_many(self) -> None:
        granted = Counter(ticket.owner for ticket in self.tickets if ticket.granted)
        assert self.slots.active == granted.total() <= 4
        assert all(count <= 2 for count in granted.values())

    @invariant()
    def nobody_waits_without_need(self) -> None:
        granted = Counter(ticket.owner for ticket in self.tickets if ticket.granted)
        for ticket in self.tickets:
            assert ticket.granted or granted.total() == 4 or granted[ticket.owner] == 2

    @invariant()
    def of_one_key_the_first_go_first(self) -> None:
        for owner in "abc":
            states = [ticket.granted for ticket in self.tickets if ticket.owner == owner]
            assert states == sorted(states, reverse=True)


TestSharedSlots = SharedSlotMachine.TestCase


def test_who_waits_only_for_its_own_share_lets_others_go_first() -> None:
    slots = Slots(limit=2, max_queued=2, per_owner=1)
    first, second, other = (slots.enter(lambda: None, owner) for owner in ("a", "a", "b"))
    assert [first.granted, second.granted, other.granted] == [True, False, True]
    other.leave()
    assert not second.granted
    first.leave()
    assert second.granted


def test_who_has_its_share_is_told_so_when_the_queue_is_full() -> None:
    slots = Slots(limit=4, max_queued=0, per_owner=1)
    slots.enter(lambda: None, "a")
    with pytest.raises(ClinvkError, match="all 1 run slots that one key may have are taken"):
        slots.enter(lambda: None, "a")


def test_without_keys_nobody_has_a_share() -> None:
    slots = Slots(limit=3, max_queued=0, per_owner=1)
    assert [slots.enter(lambda: None).granted for _ in range(3)] == [True] * 3


def test_who_gets_a_slot_is_told() -> None:
    slots = Slots(limit=1, max_queued=1)
    told: list[str] = []
    first = slots.enter(lambda: told.append("first"))
    slots.enter(lambda: told.append("second"))
    first.leave(5.0)
    assert told == ["second"]


def test_the_estimate_follows_the_runs() -> None:
    slots = Slots(limit=1, max_queued=0)
    for _ in range(50):
        slots.enter(lambda: None).leave(20.0)
    slots.enter(lambda: None)
    with pytest.raises(ClinvkError) as caught:
        slots.enter(lambda: None)
    assert caught.value.retry_after_s == 20


def test_closed_slots_are_given_to_nobody() -> None:
    slots = Slots(limit=1, max_queued=1)
    told: list[str] = []
    first = slots.enter(lambda: told.append("first"))
    second = slots.enter(lambda: told.append("second"))
    slots.close("the server is stopping")
    assert told == ["second"]
    with pytest.raises(ClinvkError, match="the server is stopping"):
        slots.enter(lambda: None)
    with pytest.raises(ClinvkError, match="the server is stopping"):
        second.check()
    first.check()
    first.leave()
    assert not second.granted
    assert (slots.active, slots.queued) == (0, 0)
