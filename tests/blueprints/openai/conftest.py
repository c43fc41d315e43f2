import pytest

from tests.blueprints.openai.asking import AskingOpenAI


@pytest.fixture
def asking() -> AskingOpenAI:
    """An application of the test's own."""
    return AskingOpenAI()
