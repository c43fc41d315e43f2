"""What of a line is its shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends import BUILT_IN
from tests.drift.recording import Json, Recording, folder_of, read
from tests.drift.shape import kinds, names, places, shape
from tests.drift.trial import CLIS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "method", "params", "id", "result", "item", "x y"]), inner)
    ),
    max_leaves=12,
)
ENTRIES = st.lists(st.dictionaries(st.sampled_from(["argv", "to", "from", "err"]), JSON, min_size=1, max_size=1))


def said(*lines: object) -> Recording:
    """A process that printed these lines."""
    return Recording(({"argv": ["x"]}, *({"from": line} for line in lines)), {})


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ({"type": "system", "subtype": "init"}, ("system", "init")),
        (
            {"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"type": "text_delta"}}},
            ("stream_event", "content_block_delta", "text_delta"),
        ),
        (
            {"method": "item/completed", "params": {"item": {"type": "agentMessage"}}},
            ("item/completed", "agentMessage"),
        ),
        (
            {"type": "user", "message": {"content": [{"type": "text"}, {"type": "tool_result"}]}},
            ("user", "text", "tool_result"),
        ),
        (
            {"method": "session/update", "params": {"update": {"sessionUpdate": "plan"}}},
            ("session/update", "plan"),
        ),
        ({"type": 7}, ()),
        ("no JSON at all", ()),
    ],
)
def test_a_line_is_called_by_what_it_says_of_itself(line: object, kind: tuple[str, ...]) -> None:
    assert tuple(names(line)) == kind


def test_an_answer_is_called_by_what_was_asked() -> None:
    process: list[Json] = [
        {"to": {"id": 1, "method": "thread/start"}},
        {"to": {"id": "b", "method": "turn/start"}},
        {"from": {"id": "b", "error": {"code": 1}}},
        {"from": {"id": 1, "result": {}}},
        {"from": {"id": 9, "result": {}}},
    ]
    assert [kind for kind, _ in kinds(process)] == [
        ("refusal of", "turn/start"),
        ("answer to", "thread/start"),
        ("other",),
    ]


def test_places_have_the_names_of_their_fields() -> None:
    value = {"usage": {"claude-x": {"n": 1}}, "tools": ["a", None], "ok": True}
    assert set(places(value)) == {
        ((), "object"),
        (("usage",), "object"),
        (("usage", "*"), "object"),
        (("usage", "*", "n"), "number"),
        (("tools",), "array"),
        (("tools", "[]"), "string"),
        (("tools", "[]"), "null"),
        (("ok",), "boolean"),
    }


def test_the_types_of_all_lines_of_a_kind_are_joined() -> None:
    found = shape(said({"type": "a", "x": 1}, {"type": "b"}, {"type": "a", "x": None}))
    assert found.fields[("a",)][("x",)] == {"number", "null"}


def test_only_what_is_in_order_in_every_process_is_in_order() -> None:
    once = said({"type": "a"}, {"type": "b"}, {"type": "b"}, {"type": "c"}, {"type": "b"})
    assert shape(once).before == {(("a",), ("b",)), (("a",), ("c",))}
    other = said({"type": "c"}, {"type": "a"})
    assert shape(Recording(once.lines + other.lines, {})).before == {(("a",), ("b",))}


@given(ENTRIES)
def test_any_lines_have_a_shape(entries: list[dict[str, object]]) -> None:
    found = shape(Recording(tuple(entries), {}))
    assert not {(second, first) for first, second in found.before} & found.before
    assert sum(map(len, found.fields.values())) <= sum(1 for entry in entries for _ in places(entry))


@pytest.mark.parametrize("cli", CLIS)
def test_every_line_of_the_recordings_has_a_kind(cli: str) -> None:
    recordings = read(folder_of(cli, BUILT_IN[cli].tested_version))
    for recording in recordings.values():
        assert ("other",) not in shape(recording).fields
