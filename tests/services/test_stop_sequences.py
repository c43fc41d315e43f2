from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Options, Spawn
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Message, Progress, Thinking, TokenUsage, ToolUse, Usage
from services.planning import Plan
from services.prompts import Prompt
from services.settings import BackendSettings
from services.stop_sequences import Cutter, StopAt
from tests.support.fake_runs import FakeBackend, FakeRun

few = st.text("abc", max_size=12)
stops_of_few = st.lists(st.text("abc", min_size=1, max_size=4), max_size=4)
COUNTED = TokenUsage(input_tokens=30, output_tokens=12, cached_tokens=20)


def pieces_of(text: str, places: Sequence[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(edges)]


def fed(stops: Sequence[str], pieces: Sequence[str]) -> tuple[str, str]:
    cutter = Cutter(stops)
    passed = ""
    for piece in pieces:
        text, stop = cutter.feed(piece)
        passed += text
        if stop:
            return passed, stop
    return passed + cutter.rest(), ""


def cut_by_the_book(text: str, stops: Sequence[str]) -> tuple[str, str]:
    """Generate the text character by character, and stop as soon as it ends with a stop sequence."""
    for end in range(len(text) + 1):
        said = text[:end]
        for stop in sorted(stops, key=len, reverse=True):
            if said.endswith(stop):
                return said.removesuffix(stop), stop
    return text, ""


# ---------------------------------------------------------------------- the text


@given(few, stops_of_few, st.lists(st.integers(0, 100)))
def test_a_text_is_cut_as_a_model_would_have_stopped_in_whatever_pieces(
    text: str, stops: list[str], places: list[int]
) -> None:
    assert fed(stops, pieces_of(text, places)) == cut_by_the_book(text, stops)


@given(few, stops_of_few, st.lists(st.integers(0, 100)))
def test_only_what_may_begin_a_stop_sequence_is_held_back(text: str, stops: list[str], places: list[int]) -> None:
    cutter = Cutter(stops)
    passed = said = ""
    for piece in pieces_of(text, places):
        released, stop = cutter.feed(piece)
        if stop:
            return
        passed, said = passed + released, said + piece
        assert said.startswith(passed)
        begun = [n for n in range(1, len(said) + 1) if any(s.startswith(said[-n:]) for s in stops)]
        assert len(said) - len(passed) == max(begun, default=0)


def test_nothing_is_held_back_without_stop_sequences() -> None:
    assert fed([], ["some", " text"]) == ("some text", "")
    assert Cutter([""]).feed("text") == ("text", "")


@pytest.mark.parametrize(
    ("stops", "pieces", "cut"),
    [
        (["END"], ["an E", "N", "d and END of it"], ("an ENd and ", "END")),
        (["\n\nHuman:"], ["hello\n", "\n", "Human", ": more"], ("hello", "\n\nHuman:")),
        (["abcd", "bc"], ["abcd"], ("a", "bc")),
        (["b", "ab"], ["ab"], ("", "ab")),
        (["🎉"], ["one ", "🎉", " two"], ("one ", "🎉")),
        (["aab"], ["aa", "a", "b"], ("a", "aab")),
    ],
)
def test_examples(stops: list[str], pieces: list[str], cut: tuple[str, str]) -> None:
    assert fed(stops, pieces) == cut


def test_a_text_that_always_nearly_matches_comes_whole() -> None:
    cutter = Cutter(["ab" * 2000 + "c"])
    passed = "".join(cutter.feed("aab")[0] for _ in range(5_000))
    assert passed + cutter.rest() == "aab" * 5_000


# ---------------------------------------------------------------------- the run


def running(*script: Sequence[Event] | Callable[[FakeRun], Sequence[Event]]) -> FakeRun:
    backend = FakeBackend("claude")
    plan = Plan(Prompt("claude", "hello"), backend, BackendSettings(), Options(""), Spawn(("claude",), ""), 0.0)
    return FakeRun("run-1", plan, script)


def endless(events: Sequence[Event]) -> Callable[[FakeRun], Sequence[Event]]:
    """What comes while nobody has ended the run: the test fails when nobody ever does."""

    def go_on(run: FakeRun) -> Sequence[Event]:
        assert run.canceled.is_set(), "the run goes on"
        return events

    return go_on


def test_a_run_that_says_no_stop_sequence_is_passed_on_as_it_is() -> None:
    script: list[Sequence[Event]] = [
        [Init("model-1"), Progress("…")],
        [],
        [Thinking("hm, STOP"), Message("Hello"), ToolUse("1", "Bash", {})],
        [Message(" world"), Usage(COUNTED)],
        [Done(usage=COUNTED, cost_usd=0.5)],
    ]
    run = running(*script)
    assert list(StopAt(run, ["STOP"]).batches()) == script
    assert not run.canceled.is_set()


def test_a_stop_sequence_over_several_pieces_ends_the_run() -> None:
    run = running([Message("one ST")], [Message("OP two"), Message("three")], endless([Message("four")]))
    batches = list(StopAt(run, ["STOP"], input_tokens=7).batches())
    assert batches[0] == [Message("one ")]
    outcome = batches[-1][-1]
    assert isinstance(outcome, Done)
    assert (outcome.stop_reason, outcome.stop_sequence, outcome.usage_estimated) == ("stop_sequence", "STOP", True)
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (7, 2)
    assert run.canceled.is_set()
    assert run.closed.is_set()
    assert "".join(e.text for batch in batches for e in batch if isinstance(e, Message)) == "one "


def test_the_text_before_a_stop_sequence_does_not_wait_for_the_end_of_the_run() -> None:
    run = running([Message("one STOP")], endless([]))
    batches = StopAt(run, ["STOP"]).batches()
    assert next(batches) == [Message("one ")]
    assert not run.canceled.is_set()


def test_what_was_counted_until_then_is_told() -> None:
    begun = TokenUsage(input_tokens=30, output_tokens=1, cached_tokens=20)
    run = running([Usage(begun)], [Message("twenty characters of STOP")], endless([]))
    outcome = list(StopAt(run, ["STOP"], input_tokens=7).batches())[-1][-1]
    assert isinstance(outcome, Done)
    assert outcome.usage == TokenUsage(input_tokens=30, output_tokens=6, cached_tokens=20)
    assert outcome.usage_estimated


def test_a_run_that_had_ended_keeps_its_count() -> None:
    done = Done(usage=COUNTED, cost_usd=0.5, turn_count=2)
    run = running([Message("one STOP two"), done])
    assert list(StopAt(run, ["STOP"]).batches()) == [
        [
            Message("one "),
            Done(usage=COUNTED, cost_usd=0.5, turn_count=2, stop_reason="stop_sequence", stop_sequence="STOP"),
        ]
    ]
    assert not run.canceled.is_set()


def test_a_text_that_was_held_back_comes_before_the_outcome() -> None:
    failed = Failed(ErrorCode.TIMEOUT, "too late", -1)
    for outcome in (Done(usage=COUNTED), failed):
        batches = list(StopAt(running([Message("one S")], [Message("TO")], [outcome]), ["STOP"]).batches())
        assert batches == [[Message("one ")], [Message("STO"), outcome]]


def test_collect_cuts_as_well() -> None:
    result = StopAt(running([Message("one ST")], [Message("OP two")], endless([])), ["STOP"]).collect()
    assert (result.output, result.duration_ms) == ("one ", 7)
    assert isinstance(result.outcome, Done)


def test_it_is_the_run_in_all_else() -> None:
    run = running([Done()])
    with StopAt(run, ["STOP"]) as stopping:
        for name in ("run_id", "session_id", "backend", "model", "cli_session_id", "warnings", "ignored"):
            assert getattr(stopping, name) == getattr(run, name)
        stopping.cancel("enough")
    assert run.cancel_message == "enough"
    assert run.closed.is_set()
