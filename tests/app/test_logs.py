"""The line of text in the log."""

import logging

import pytest

from app.logs import TextLines


def line(message: str, **more: object) -> str:
    record = logging.LogRecord("services.x", logging.INFO, __file__, 1, message, None, None)
    vars(record).update({"request_id": "r-1", **more})
    return TextLines("%H").format(record).partition("[r-1] ")[2]


def test_what_a_line_says_more_stands_behind_its_message() -> None:
    assert line("run", backend="claude", exit_code=0, cost_usd=0.5) == "run backend=claude exit_code=0 cost_usd=0.5"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ("über 你好", '"über 你好"'),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("one\ntwo", r"one\ntwo"),
        ("\x9b31m\u2028", r"\x9b31m\u2028"),
    ],
)
def test_no_value_can_talk_to_the_terminal_or_begin_a_line(value: str, written: str) -> None:
    assert line("request", path=value) == f"request path={written}"
