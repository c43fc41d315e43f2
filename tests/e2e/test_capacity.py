"""More than a server can carry, and all that can happen to processes that wait: ``python -m tests.capacity``."""

import pytest

from tests.capacity.cases import CASES, QUICK, wrong
from tests.support.server import ServerFactory


@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_a_server_carries_what_it_can(name: str, start_server: ServerFactory) -> None:
    assert wrong(name, start_server) == []
