"""codex, from whatever it might say."""

import json

from hypothesis import given
from hypothesis import strategies as st

from services.backends.codex.requests import REFUSALS, UNWANTED, Request
from services.events import Done, Failed, ToolResult, ToolUse
from tests.services.backends.codex_recordings import BACKEND, ERRANDS, Heard, RecordedRun, lines, options, tell

NOTIFICATIONS = (
    "error", "item/agentMessage/delta", "item/completed", "item/reasoning/summaryTextDelta", "item/reasoning/textDelta",
    "item/started", "model/rerouted", "thread/tokenUsage/updated", "turn/completed", "turn/plan/updated", "warning",
    *UNWANTED, *REFUSALS,
)  # fmt: skip
ITEM_TYPES = (
    "agentMessage", "collabAgentToolCall", "commandExecution", "dynamicToolCall", "fileChange", "imageGeneration",
    "imageView", "mcpToolCall", "plan", "reasoning", "userMessage", "webSearch",
)  # fmt: skip
NAMES = (
    "action", "aggregatedOutput", "arguments", "changes", "codexErrorInfo", "content", "contentItems", "delta", "error",
    "exitCode", "httpStatusCode", "id", "inputTokens", "item", "itemId", "message", "model", "plan", "result", "status",
    "success", "text", "threadId", "toModel", "tokenUsage", "tool", "total", "turn", "type", "willRetry",
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(("completed", "failed", "interrupted", "modelNotFound", *ITEM_TYPES))
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON | st.sampled_from(list(Request)),
        "method": JSON | st.sampled_from(NOTIFICATIONS),
        "params": JSON,
        "result": JSON,
        "error": JSON,
    },
)


@given(st.lists(st.binary() | MESSAGES.map(lambda m: json.dumps(m).encode()), max_size=8), st.integers(-15, 255))
def test_nothing_codex_prints_raises(printed: list[bytes], exit_code: int) -> None:
    conversation = BACKEND.conversation(options(), "hello")
    conversation.start()
    for line in printed:
        conversation.receive(line)
        lines(conversation.data_to_send())
    conversation.interrupt()
    lines(conversation.data_to_send())
    outcome = conversation.finish(exit_code, "")
    assert isinstance(outcome, Failed) or exit_code == 0
    assert isinstance(outcome, Done) or outcome.exit_code != 0


@given(st.lists(st.binary() | MESSAGES.map(lambda m: json.dumps(m).encode()), max_size=8), st.sampled_from(ERRANDS))
def test_nothing_codex_prints_raises_on_an_errand(printed: list[bytes], name: str) -> None:
    _, conversation = RecordedRun.load(name, "errand").begin()
    conversation.start()
    for line in printed:
        conversation.receive(line)
        lines(conversation.data_to_send())
    conversation.finish(0, "")


@st.composite
def attempts(draw: st.DrawFn) -> list[tuple[list[str], bool]]:
    """Messages in pieces, some cut off and written once more, perhaps several times: (pieces, completed)."""
    told = []
    for _ in range(draw(st.integers(0, 4))):
        whole = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6))
        for _ in range(draw(st.integers(0, 2))):
            told.append((whole[: draw(st.integers(0, len(whole) - 1))], False))
        told.append((whole, True))
    return told


@given(attempts(), st.data())
def test_each_piece_of_text_is_said_once_however_it_is_cut(
    told: list[tuple[list[str], bool]], data: st.DataObject
) -> None:
    conversation = BACKEND.conversation(options(max_retries=99), "hello")
    heard = Heard()
    for number, (pieces, completed) in enumerate(told):
        item_id, text = f"msg_{number}", "".join(pieces)
        streamed = pieces[: data.draw(st.integers(0, len(pieces)))] if completed else pieces
        heard.events += tell(conversation, "item/started", item={"type": "agentMessage", "id": item_id, "text": ""})
        for piece in streamed:
            heard.events += tell(conversation, "item/agentMessage/delta", itemId=item_id, delta=piece)
        if completed:
            item = {"type": "agentMessage", "id": item_id, "text": text}
            heard.events += tell(conversation, "item/completed", item=item)
        else:
            heard.events += tell(conversation, "error", willRetry=True, error={"message": "Reconnecting... 1/5"})
    assert heard.output == "\n\n".join("".join(pieces) for pieces, completed in told if completed)


@given(st.lists(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4), max_size=4))
def test_parts_of_thoughts_are_divided_by_a_blank_line(parts: list[list[str]]) -> None:
    conversation = BACKEND.conversation(options(), "hello")
    events = []
    for index, part in enumerate(parts):
        for piece in part:
            events += tell(
                conversation, "item/reasoning/summaryTextDelta", itemId="rs", summaryIndex=index, delta=piece
            )
    assert "".join(event.text for event in events) == "\n\n".join("".join(part) for part in parts)


def test_a_plan_is_a_tool_event() -> None:
    plan = [{"step": "look", "status": "inProgress"}]
    use, result = tell(BACKEND.conversation(options(), "hello"), "turn/plan/updated", plan=plan, explanation=None)
    assert use == ToolUse("plan_1", "update_plan", {"plan": plan})
    assert result == ToolResult("plan_1", "")


def test_a_message_lost_before_a_tool_call_is_not_looked_for_in_a_later_one() -> None:
    conversation = BACKEND.conversation(options(), "hello")
    heard = Heard()
    heard.events += tell(conversation, "item/agentMessage/delta", itemId="a", delta="I will")
    heard.events += tell(conversation, "error", willRetry=True, error={"message": "Reconnecting... 1/5"})
    heard.events += tell(conversation, "item/started", item={"type": "commandExecution", "id": "t", "command": "ls"})
    heard.events += tell(conversation, "item/agentMessage/delta", itemId="b", delta="I will")
    assert heard.output == "I will\n\nI will"
