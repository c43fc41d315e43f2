import threading

import pytest

from services.janitor import LONGEST_QUEUE, Janitor


def test_tasks_are_done_in_their_order_and_closing_waits_for_them() -> None:
    janitor, done = Janitor(), []
    for number in range(50):
        janitor(lambda number=number: done.append(number))  # type: ignore[misc]
    janitor.close()
    janitor.close()
    assert done == list(range(50))


def test_a_task_that_fails_keeps_no_other_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    janitor, done = Janitor(), []
    janitor(lambda: 1 // 0)
    janitor(lambda: done.append(1))
    janitor.close()
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text


def test_who_brings_too_much_does_it_himself() -> None:
    janitor, go = Janitor(), threading.Event()
    seen: list[str] = []
    janitor(lambda: go.wait(10))
    for _ in range(LONGEST_QUEUE + 10):
        janitor(lambda: seen.append(threading.current_thread().name))
    before = list(seen)
    go.set()
    janitor.close()
    assert set(before) == {"MainThread"}
    assert len(seen) == LONGEST_QUEUE + 10


def test_after_its_end_tasks_are_done_at_once() -> None:
    janitor, done = Janitor(), []
    janitor.close()
    janitor(lambda: done.append(1))
    assert done == [1]
