import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.estimate import PER_MESSAGE, Tally, tokens_of, tokens_of_messages


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("Hello, world!", 3, 5),
        ("The quick brown fox jumps over the lazy dog. " * 100, 900, 1400),
        ("人工智能正在改变世界。" * 100, 700, 1500),
        ("def add(a: int, b: int) -> int:\n    return a + b\n" * 100, 1300, 2100),
    ],
)
def test_an_estimate_is_of_the_right_size(text: str, least: int, most: int) -> None:
    assert least <= tokens_of(text) <= most


@given(st.lists(st.text()))
def test_pieces_count_as_the_whole(pieces: list[str]) -> None:
    tally = Tally()
    for piece in pieces:
        tally.add(piece)
    assert tally.tokens == tokens_of("".join(pieces))


@given(st.text(), st.text(min_size=1))
def test_more_text_is_never_less(text: str, more: str) -> None:
    assert tokens_of(text) <= tokens_of(text + more)
    assert tokens_of(more) >= 1


@given(st.lists(st.text()))
def test_a_conversation_takes_more_than_its_texts(texts: list[str]) -> None:
    assert tokens_of_messages(texts) == sum(map(tokens_of, texts)) + PER_MESSAGE * len(texts)
