import pytest

from tests.blueprints.anthropic.asking import AskingAnthropic


@pytest.fixture
def asking() -> AskingAnthropic:
    """An application of the test's own."""
    return AskingAnthropic()
