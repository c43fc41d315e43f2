"""The real CLIs cut short by a stop sequence, as Anthropic's SDK asks for it."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import clis
from tests.e2e.fake_upstream import ModelServer
from tests.support.later import Later
from tests.support.server import Server

if TYPE_CHECKING:
    import anthropic
else:
    anthropic = Later("anthropic")

pytestmark = pytest.mark.e2e
DELTAS = 200
GONE_WITHIN_S = 2.0


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("backend", clis.NAMES)
def test_a_stop_sequence_ends_answer_and_run(
    real_server: Server, model_server: ModelServer, backend: str, stream: bool
) -> None:
    asked: dict[str, Any] = {
        "model": f"{backend}/{clis.MODELS[backend]}",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": f"FAKE:n={DELTAS} FAKE:delay=0.1"}],
        "stop_sequences": ["w3 w4", "w5"],
    }
    with anthropic.Anthropic(base_url=f"http://127.0.0.1:{real_server.port}/anthropic/v1", api_key="none") as client:
        if stream:
            with client.messages.stream(**asked) as events:
                answer = events.get_final_message()
        else:
            answer = client.messages.create(**asked)
    assert model_server.deltas() < DELTAS, "the answer is there before the model has said all of its own"
    (block,) = answer.content
    assert isinstance(block, anthropic.types.TextBlock)
    assert block.text.endswith("w0 w1 w2 ")
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "w3 w4")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens >= 3
    real_server.wait_until_idle(GONE_WITHIN_S)
