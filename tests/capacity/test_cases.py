"""The cases that take little time."""

import pytest

from tests.capacity.cases import QUICK, wrong
from tests.support.server import ServerFactory


@pytest.mark.parametrize("name", QUICK)
def test_a_server_carries_what_it_can(name: str, start_server: ServerFactory) -> None:
    assert wrong(name, start_server) == []
