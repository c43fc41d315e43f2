"""JSON that is taken, and JSON that is refused by name."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprints import api
from blueprints.api import LARGE_BYTES
from blueprints.json_input import MAX_DEPTH, MAX_VALUES, has_more_values, parse_json, problems_of
from services.errors import ClinvkError
from tests.support.fake_runs import FakeRuns, fake_app, saying
from tests.support.waiting import wait_until

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
DOCUMENTS = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_takes_what_json_writes(document: object) -> None:
    assert parse_json(json.dumps(document).encode()) == document


@given(st.binary())
def test_never_raises_anything_else(body: bytes) -> None:
    with suppress(ClinvkError):
        parse_json(body)


@pytest.mark.parametrize(
    ("body", "location"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b"\xed\xa0\x80", "body"),
        ('{"a": 1}'.encode("utf-16"), "body"),
        (b'{"a": 1} x', "body"),
        (b"{'a': 1}", "body"),
        (b'{"a": [1, {"b": "x\\u0000y"}]}', "a[1].b"),
        (b'{"a": "\\ud800"}', "a"),
        (b'{"a": "ok \\udc00 \\ud83d\\ude00"}', "a"),
        (b'"\\ud800"', "body"),
        (b'{"x": {"a\\u0000b": 1}}', "x.a\0b"),
        (b'{"x": {"\\ud800": 1}}', "x.?"),
        (b'{"a": NaN}', "a"),
        (b'{"a": [0, -Infinity]}', "a[1]"),
        (b'{"a": 1e999}', "a"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a"),
        (b'{"t": [{"a": 1, "b": 2, "a": 3}]}', "t[0].a"),
        (b"[" * 100_000 + b"]" * 100_000, "body"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "body"),
        (b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "a" + "[0]" * (MAX_DEPTH - 1)),
        (b"[" + b"[]," * MAX_VALUES + b"[]]", "body"),
        (b"[" + b"0," * MAX_VALUES + b"0]", "body"),
        (b'["' + b'","' * MAX_VALUES + b'"]', "body"),
        (b'["' + b'\\\\","' * MAX_VALUES + b'"]', "body"),
        (b"{" + b",".join(b'"%d":{}' % number for number in range(MAX_VALUES)) + b"}", "body"),
        (b"[" + (b"[" * 9 + b"]" * 9 + b",") * (MAX_VALUES // 9) + b"0]", "body"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_refuses_and_names(body: bytes, location: str) -> None:
    with pytest.raises(ClinvkError) as caught:
        parse_json(body)
    assert caught.value.status == 400
    assert [problem.location for problem in caught.value.problems] == [location]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    ],
)
def test_takes_what_is_only_unusual(body: bytes, value: object) -> None:
    parsed = parse_json(body)
    assert value is None or parsed == value


@pytest.mark.parametrize("text", [",[{" * MAX_VALUES, '","' * MAX_VALUES, "\\" * MAX_VALUES, '\\","\\\\"' * MAX_VALUES])
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    document = {text: text, "x": [text, {}, text]}
    assert parse_json(json.dumps(document).encode()) == document


@given(DOCUMENTS)
def test_values_are_counted_and_empty_ones_twice(document: object) -> None:
    body = json.dumps(document).encode()
    count = values_in(document)
    assert has_more_values(body, count - 1)
    assert not has_more_values(body, count)


def values_in(document: object) -> int:
    """How many values there are, with the document itself and its lists and objects."""
    if not isinstance(document, dict | list):
        return 1
    members = document.values() if isinstance(document, dict) else document
    return 1 + sum(map(values_in, members)) if document else 2


def test_a_long_text_costs_little() -> None:
    body = json.dumps({"prompt": "ä" * 5_000_000}, ensure_ascii=False).encode()
    began_s = time.perf_counter()
    parse_json(body)
    assert time.perf_counter() - began_s < 2


def test_flattens_what_a_schema_says() -> None:
    messages = {"tasks": {1: {"backend": ["no"], "_schema": ["bad"]}}, "_schema": ["worse"], "x": ["a", "b"]}
    assert [(problem.location, problem.message) for problem in problems_of(messages)] == [
        ("tasks[1].backend", "no"),
        ("tasks[1]", "bad"),
        ("body", "worse"),
        ("x", "a"),
        ("x", "b"),
    ]


def test_large_bodies_are_worked_on_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And small ones do not wait for them."""
    at_work: list[int] = []
    crowd: list[int] = []
    released = threading.Event()

    def watched(body: bytes) -> object:
        if len(body) > LARGE_BYTES:
            at_work.append(1)
            crowd.append(len(at_work))
            released.wait(20)
            at_work.pop()
        return parse_json(body)

    monkeypatch.setattr(api, "parse_json", watched)
    app = fake_app(FakeRuns({"claude": saying("x")}))

    def ask(text: str) -> int:
        return app.test_client().post("/api/v1/prompt", json={"backend": "claude", "prompt": text}).status_code

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(ask, "x" * LARGE_BYTES) for _ in range(4)]
        wait_until(lambda: at_work)
        assert ask("small") == 200
        released.set()
        assert [one.result() for one in asked] == [200] * 4
    assert crowd == [1] * 4


@pytest.mark.parametrize("prompt", ["hello", ""])
def test_a_body_gives_its_place_to_the_next_before_the_run(prompt: str) -> None:
    runs = FakeRuns({"claude": saying("x")})
    started: list[int] = []
    environ = {"clinvk.body_is_loaded": lambda: started.append(len(runs.started))}
    client = fake_app(runs).test_client()
    client.post("/api/v1/prompt", json={"backend": "claude", "prompt": prompt}, environ_overrides=environ)
    assert started == [0]
