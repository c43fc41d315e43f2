"""The list of models, and the three prefixes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprints.anthropic.models import page
from services.errors import ClinvkError
from services.models import ModelEntry
from tests.blueprints.anthropic.asking import HELLO, AskingAnthropic
from tests.support.fake_runs import FakeRuns, fake_app

PREFIXES = ("/anthropic/v1", "/anthropic/v1/v1", "/anthropic")
ENTRIES = [ModelEntry(f"m{number}", "anthropic", "claude") for number in range(7)]
IDS = [entry.id for entry in ENTRIES]


def ids(found: dict[str, Any]) -> list[str]:
    return [model["id"] for model in found["data"]]


@given(st.integers(1, 10), st.integers(0, 7))
def test_the_pages_make_up_the_list(limit: int, count: int) -> None:
    entries = ENTRIES[:count]
    found: list[str] = []
    last: dict[str, Any] = page(entries, limit=limit)
    found += ids(last)
    while last["has_more"]:
        assert len(ids(last)) == limit
        last = page(entries, limit=limit, after_id=last["last_id"])
        found += ids(last)
    assert found == IDS[:count]


@given(st.integers(1, 10))
def test_the_pages_backwards_too(limit: int) -> None:
    last: dict[str, Any] = page(ENTRIES, limit=limit, before_id="m6")
    found = ids(last)
    while last["has_more"]:
        last = page(ENTRIES, limit=limit, before_id=last["first_id"])
        found = ids(last) + found
    assert found == IDS[:6]


def test_an_empty_page_has_no_first_and_no_last() -> None:
    empty = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert page([], limit=20) == page(ENTRIES, limit=20, after_id="m6") == empty


@pytest.mark.parametrize("cursors", [{"after_id": "x"}, {"before_id": "x"}, {"after_id": "m1", "before_id": "m3"}])
def test_a_cursor_that_leads_nowhere_is_named(cursors: dict[str, str]) -> None:
    with pytest.raises(ClinvkError, match="_id: "):
        page(ENTRIES, limit=20, **cursors)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=nobody"])
def test_a_wrong_query_is_refused(asking: AskingAnthropic, query: str) -> None:
    response = asking.client.get(f"/anthropic/v1/models?{query}")
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"]["message"].startswith(query.partition("=")[0])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_everything_is_under_each_prefix(prefix: str) -> None:
    runs = FakeRuns({"claude": [[]]})
    client = fake_app(runs).test_client()
    assert client.get(f"{prefix}/models?beta=true&limit=2").status_code == 200
    assert client.get(f"{prefix}/models/codex").json == {
        "type": "model",
        "id": "codex",
        "display_name": "codex",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
    }
    count = client.post(f"{prefix}/messages/count_tokens?beta=true", json=HELLO)
    assert count.status_code == 200
    assert count.headers["X-Clinvk-Usage"] == "estimated"
    assert client.get(prefix).status_code == client.head(prefix).status_code == 200
    assert client.head(f"{prefix}/messages").status_code == 405
    for path in ("/models", "/models/codex"):
        assert client.head(prefix + path).status_code == 200
    assert runs.started == []


def test_what_is_counted(asking: AskingAnthropic) -> None:
    def count(**fields: Any) -> int:
        response = asking.client.post("/anthropic/v1/messages/count_tokens", json=HELLO | fields)
        assert response.json is not None
        assert list(response.json) == ["input_tokens"]
        return int(response.json["input_tokens"])

    usual = count()
    assert usual > 0
    assert count(system="Be brief.") > usual
    assert count(tools=[{"name": "f", "input_schema": {"type": "object"}}]) > usual
    assert count(messages=[*HELLO["messages"], {"role": "assistant", "content": "Hi"}]) > usual
