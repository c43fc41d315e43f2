"""Cutting a stream into lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.framing import LineSplitter, LineTooLongError


@given(st.binary(), st.lists(st.integers(0, 40)))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    splitter = LineSplitter(1000)
    lines: list[bytes] = []
    rest = data
    for cut in cuts:
        lines += splitter.feed(rest[:cut])
        rest = rest[cut:]
    lines += splitter.feed(rest)
    assert [*lines, splitter.rest()] == data.split(b"\n")


def test_only_an_unfinished_line_counts_against_the_bound() -> None:
    splitter = LineSplitter(10)
    assert list(splitter.feed(b"123456789\n123456789\n123")) == [b"123456789", b"123456789"]
    assert list(splitter.feed(b"4567")) == []
    with pytest.raises(LineTooLongError):
        list(splitter.feed(b"89012"))
