import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.descendants import worker_id
from services.registry import LONGEST_NAME, PLACE_BYTES, Registry, RunRecord
from tests.support.waiting import wait_until

MINE = RunRecord("a1", "claude", "m", "s", "me", 1.0, queued_ms=3, warm=False)
OTHERS = RunRecord("b2", "codex", "", "", "somebody else", 2.0, queued_ms=4, warm=False)


@pytest.fixture
def canceled() -> list[str]:
    return []


@pytest.fixture
def registry(tmp_path: Path, canceled: list[str]) -> Iterator[Registry]:
    (tmp_path / worker_id()).mkdir()
    made = Registry(tmp_path, worker_id())
    made.open(canceled.append)
    made.put(MINE)
    made.put(OTHERS)
    yield made
    made.close()


def test_runs_are_those_of_their_owner(registry: Registry) -> None:
    assert registry.list("me") == [MINE]
    assert registry.list("somebody else") == [OTHERS]
    assert registry.list("") == []
    assert registry.get("a1", "me") == MINE
    assert registry.get("a1", "somebody else") is None


def test_nobody_ends_the_run_of_another(registry: Registry, canceled: list[str]) -> None:
    assert registry.cancel("a1", "somebody else") is None
    assert registry.cancel("a1", "me") == MINE
    wait_until(lambda: canceled == ["a1"])


@pytest.mark.parametrize("ident", ["", "*", "../a1", "a1.run", "a?", "x" * 10_000, "ä\x00"])
def test_what_is_no_id_names_no_run(registry: Registry, ident: str) -> None:
    assert registry.get(ident, "me") is None


def test_what_has_changed_of_a_run_is_seen(registry: Registry) -> None:
    now = replace(MINE, state="running", queued_ms=12, warm=True)
    registry.put(now)
    assert registry.list("me") == [now]
    assert registry.count() == {"running": 1, "queued": 1}


def told_as_queued(registry: Registry, ago_s: float) -> int:
    """The milliseconds that a run waits by now which came so long ago."""
    registry.put(replace(MINE, started_at=time.time() - ago_s, queued_ms=0, warm=None))
    record = registry.get("a1", "me")
    assert record is not None
    return record.queued_ms


def test_how_long_one_waits_by_now_is_told(registry: Registry) -> None:
    assert told_as_queued(registry, 2) >= 2000
    assert told_as_queued(registry, -3600) == 0, "the clock was set back"


def test_a_place_is_used_again_and_nothing_of_the_run_before_is_seen(tmp_path: Path, registry: Registry) -> None:
    registry.remove("a1")
    registry.put(replace(OTHERS, run_id="c3", owner="me", model="x" * 10_000))
    (told,) = registry.list("me")
    assert (told.run_id, told.model) == ("c3", "x" * LONGEST_NAME)
    assert (tmp_path / worker_id() / "list").stat().st_size <= 2 * PLACE_BYTES


def test_who_ends_after_the_close_writes_nothing(tmp_path: Path, registry: Registry) -> None:
    """A thread may still be about to tell of its run when the worker stops; the folder is not its own by then."""
    registry.close()
    file = tmp_path / worker_id() / "list"
    file.unlink()
    registry.put(replace(MINE, run_id="c3"))
    registry.remove("a1")
    assert not file.exists()


def test_what_is_half_written_is_no_run(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / worker_id() / "list"
    whole = file.read_bytes()
    for end in range(1, PLACE_BYTES):
        file.write_bytes(whole[:end])
        assert [record.run_id for record in registry.list("me")] == (["a1"] if end > whole.index(b"\n") else [])
    file.write_bytes(whole.replace(b'"me"', b'"no"'))
    assert registry.list("no") == []


def test_a_run_that_has_ended_is_gone(registry: Registry) -> None:
    registry.remove("a1")
    registry.remove("a1")
    assert registry.list("me") == []


def test_another_worker_is_told(tmp_path: Path, registry: Registry, canceled: list[str]) -> None:
    instance = worker_id().partition(".")[0]
    (tmp_path / f"{instance}.999999").mkdir()
    elsewhere = Registry(tmp_path, f"{instance}.999999")
    assert elsewhere.list("me") == [MINE]
    assert elsewhere.cancel("a1", "me") == MINE
    wait_until(lambda: canceled == ["a1"])
