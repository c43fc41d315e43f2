"""How fast a stream is written."""

import time

from blueprints.anthropic.translate import StreamWriter
from services.events import Done, Message
from services.running import StandIn

CHUNKS_A_SECOND = 40_000


def test_text_is_written_fast_enough_one_piece_at_a_time() -> None:
    writer = StreamWriter(StandIn("claude", "model-1", outcome=Done()), "claude", 10, "request-1")
    count = 100_000
    batch = [Message("some words ")]
    began_s = time.process_time()
    size = sum(len(writer.write(batch)) for _ in range(count))
    assert count / (time.process_time() - began_s) > CHUNKS_A_SECOND
    assert size > 100 * count
