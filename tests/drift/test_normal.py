"""What differs from run to run is not in a recording; its types are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drift.normal import LONGEST, normal, text
from tests.drift.shape import places

KEYS = st.sampled_from(["type", "duration_ms", "input_tokens", "total_cost_usd", "name", "createdAt"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("7466d2b2-b0dd-4023-91a4-415415863df4", "<uuid>"),
        ("at 2026-11-23T12:00:01.123Z", "at <time>"),
        ("rollout-2026-11-23T12-00-01-x", "rollout-<time>-x"),
        ("http://127.0.0.1:8901/v1", "<model-server>/v1"),
        ("your gateway (127.0.0.1:8901)", "your gateway (<model-server>)"),
        ("/runs/64-6346.70/86e8b286122a4363/tmp", "/runs/<worker>/<id>/tmp"),
        ("msg_01AbCdEfGh", "msg_<id>"),
        ("turn=1 sys=4711 | w0", "turn=1 sys=<count> | w0"),
        ("sys=1 tool_result='process 17\n' | w0", "sys=<count> tool_result=<result> | w0"),
        ("/run/17/home/x and /run/17", "<home>/x and <run>"),
        ("agent 2.1.197", "agent <version>"),
        ("x" * (LONGEST + 1), "x" * LONGEST + "…"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_texts(said: str, kept: str) -> None:
    assert text(said, {"/run/17": "<run>", "/run/17/home": "<home>", "2.1.197": "<version>"}) == kept


def test_numbers() -> None:
    line = {
        "duration_ms": 17,
        "usage": {"input_tokens": 812, "cached_tokens": 0},
        "num_turns": 2,
        "total_cost_usd": 0.3,
    }
    assert normal(line, {}) == {
        "duration_ms": 0,
        "usage": {"input_tokens": 1, "cached_tokens": 0},
        "num_turns": 2,
        "total_cost_usd": 1,
    }


@given(JSON)
def test_no_type_changes(value: object) -> None:
    assert list(places(normal(value, {}))) == list(places(value))
