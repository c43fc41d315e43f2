"""Every answer to a made-up request is as ``/openapi.json`` says."""

from tests.fuzz.fuzzing import fuzz
from tests.support.server import ServerFactory

SECONDS = 30


def test_what_is_made_up_from_the_document_is_answered_as_it_says(servers: ServerFactory) -> None:
    found = fuzz(servers, SECONDS, seed=20_261_123)
    assert found.nothing, found.text
