"""What a server that is killed at random moments has answered is there afterwards; see crash.py."""

import pytest

from tests.services.crash import CONFIG, crash
from tests.support.server import ServerFactory


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.e2e)])
def test_nothing_that_was_answered_is_lost(start_server: ServerFactory, kills: int) -> None:
    tally = crash(start_server(CONFIG), kills, seed=kills)
    print(tally.table())
    assert tally.wrong == []
    assert (tally.lost, tally.orphans) == (0, 0)
    assert tally.killed.total() == kills
    assert tally.acknowledged > 5 * kills
    assert tally.interrupted > 0
