"""How chunks are written: as JSON that anybody reads."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from blueprints.openai.translate import ChunkWriter
from services.events import Done, Event, Message, Thinking
from services.running import StandIn

PIECES: st.SearchStrategy[Event] = st.one_of(st.builds(Message, st.text()), st.builds(Thinking, st.text()))


def writer(*, include_usage: bool = False, model: str = "model-1") -> ChunkWriter:
    return ChunkWriter(StandIn("claude", model, outcome=Done()), 'a "model"', include_usage)


@given(batches=st.lists(st.lists(PIECES, min_size=1)), include_usage=st.booleans())
def test_whatever_is_said_arrives_in_order_and_in_one_piece_each(
    batches: list[list[Event]], include_usage: bool
) -> None:
    writes = writer(include_usage=include_usage)
    data = b"".join(writes.write(batch) for batch in batches) + writes.write([Done()])
    assert data.endswith(b"data: [DONE]\n\n")
    frames = data.removesuffix(b"data: [DONE]\n\n").removesuffix(b"\n\n").split(b"\n\n")
    read = [orjson.loads(frame.removeprefix(b"data: ")) for frame in frames]
    told = [choice["delta"] for chunk in read for choice in chunk["choices"]][1:-1]
    named = [
        {"content": event.text} if isinstance(event, Message) else {"reasoning_content": event.text}
        for batch in batches
        for event in batch
        if isinstance(event, Message | Thinking)
    ]
    assert told == named
    assert all(("usage" in chunk) == include_usage for chunk in read)


def test_the_clients_name_of_the_model_stands_in_until_the_cli_tells_its_own() -> None:
    first = writer(model="").write([Message("x")]).split(b"\n\n")[0]
    assert orjson.loads(first.removeprefix(b"data: "))["model"] == 'a "model"'
