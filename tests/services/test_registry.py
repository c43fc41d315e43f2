from collections.abc import Iterator
from pathlib import Path

import pytest

from services.descendants import worker_id
from services.registry import Registry, RunRecord
from tests.support.waiting import wait_until

MINE = RunRecord("a1", "claude", "m", "s", "me", 1.0)
OTHERS = RunRecord("b2", "codex", "", "", "somebody else", 2.0)


@pytest.fixture
def canceled() -> list[str]:
    return []


@pytest.fixture
def registry(tmp_path: Path, canceled: list[str]) -> Iterator[Registry]:
    (tmp_path / worker_id()).mkdir()
    made = Registry(tmp_path, worker_id())
    made.open(canceled.append)
    made.add(MINE)
    made.add(OTHERS)
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
