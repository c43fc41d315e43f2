"""Fields of requests cost little, whatever they are given."""

from typing import Any

import marshmallow as ma
import pytest
from marshmallow import ValidationError, fields

from blueprints.fields import MOST_WRONG, Many, each
from tests.support.fake_runs import FakeRuns, fake_app, saying

CROWD = 1_000_000


class Counting(fields.Integer):
    """Counts how often it is asked."""

    asked = 0

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        Counting.asked += 1
        return super()._deserialize(value, attr, data, **kwargs)


class Numbers(ma.Schema):
    numbers = Many(Counting(strict=True), least=1, most=CROWD)


def test_a_list_is_loaded_in_its_order() -> None:
    assert each("abc", ord) == [97, 98, 99]
    assert Numbers().load({"numbers": [3, 1, 2]}) == {"numbers": [3, 1, 2]}


def test_the_wrong_members_are_named_by_their_places() -> None:
    with pytest.raises(ValidationError) as caught:
        Numbers().load({"numbers": [1, "x", 2, None]})
    assert caught.value.messages == {
        "numbers": {1: ["Not a valid integer."], 3: ["Field may not be null."]},
    }


def test_no_more_than_a_few_wrong_members_are_looked_at() -> None:
    Counting.asked = 0
    with pytest.raises(ValidationError) as caught:
        Numbers().load({"numbers": [1, 2, *["x"] * (CROWD - 2)]})
    assert list(caught.value.messages_dict["numbers"]) == list(range(2, 2 + MOST_WRONG))
    assert Counting.asked == 2 + MOST_WRONG


@pytest.mark.parametrize("value", [None, "ab", {"a": 1}, 1, [], [0] * (CROWD + 1)])
def test_no_member_is_looked_at_when_the_list_is_none_or_of_a_wrong_length(value: object) -> None:
    Counting.asked = 0
    with pytest.raises(ValidationError):
        Numbers().load({"numbers": value})
    assert Counting.asked == 0


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/anthropic/v1/messages"])
@pytest.mark.parametrize("content", [[1], [None], [{}], [{"type": "image"}]])
def test_a_crowd_of_wrong_parts_is_cut_short(path: str, content: list[object]) -> None:
    client = fake_app(FakeRuns({"claude": saying("x")})).test_client()
    messages = [{"role": "user", "content": content * 10_000}]
    response = client.post(path, json={"model": "claude", "max_tokens": 1, "messages": messages})
    assert response.status_code == 400
    assert f"content[{MOST_WRONG - 1}]" in response.text
    assert f"content[{MOST_WRONG}]" not in response.text
