import pytest

from tests.blueprints.anthropic.asking import Asking


@pytest.fixture
def asking() -> Asking:
    """An application of the test's own."""
    return Asking()
