"""Conversations that gemini takes up again, as recorded and as imagined."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Conversation, Phase
from services.backends.gemini.conversation import KEPT
from services.backends.gemini.history import tidied
from services.backends.gemini.signs import NEXT_LINE
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Message, Progress, Thinking, TokenUsage, ToolResult, ToolUse
from tests.services.backends.gemini_lines import BACKEND, PLAIN, RECORDINGS, answered, piece, say, stdout_of, tool_call

NEW = replace(PLAIN, keep_session=True)
SESSION = "7062a55e-4267-4c21-87d4-da3d27e7b7ba"
RESUMED = replace(NEW, resume=SESSION)
LOADED = {"id": 2, "result": {"models": {"currentModelId": "m1"}}}
ECHOED = {"id": 4, "result": {"protocolVersion": 1}}
PROMPTS = {"kept-tool": "/second FAKE:tool FAKE:n=2", "kept-third": "third FAKE:n=1", "kept-lost": "x"}


def talk(prompt: str = "hello") -> Conversation:
    conversation = BACKEND.conversation(RESUMED, prompt)
    conversation.start()
    return conversation


def hear(conversation: Conversation, *messages: Mapping[str, Any]) -> tuple[list[Event], list[str]]:
    """What comes of messages, and the methods of the requests that are sent."""
    events = [event for line in say(*messages) for event in conversation.receive(line)]
    return events, [json.loads(line)["method"] for line in conversation.data_to_send().splitlines()]


def replay(name: str, conversation: Conversation) -> tuple[Sequence[Event], Done | Failed]:
    """What comes of a recording, in which the same was sent."""
    sent = BACKEND.spawn(RESUMED).opening
    conversation.start()
    events: list[Event] = []
    for line in stdout_of(name):
        events += conversation.receive(line)
        sent += conversation.data_to_send()
    told = (RECORDINGS / f"{name}.stdin").read_bytes()
    assert [json.loads(line) for line in sent.splitlines()] == [json.loads(line) for line in told.splitlines()]
    exit_code = json.loads((RECORDINGS / f"{name}.exit").read_text())["exit"]
    return events, conversation.finish(exit_code, "")


# ---------------------------------------------------------------------- recordings


def test_a_recorded_turn_that_continues() -> None:
    events, outcome = replay("kept-third", BACKEND.conversation(RESUMED, PROMPTS["kept-third"]))
    assert events[0] == Init("gemini-2.5-flash", SESSION)
    assert "".join(event.text for event in events if isinstance(event, Message)).startswith("fake turn=3 ")
    assert not [event for event in events if isinstance(event, Thinking | ToolUse | ToolResult)], "from the past"
    assert outcome == Done(TokenUsage(3, 14))


def test_a_recorded_turn_that_continues_with_a_tool() -> None:
    events, outcome = replay("kept-tool", BACKEND.conversation(RESUMED, PROMPTS["kept-tool"]))
    assert [type(event) for event in events[:3]] == [Init, ToolUse, ToolResult]
    assert "".join(event.text for event in events if isinstance(event, Message)).startswith("fake turn=2 ")
    assert isinstance(outcome, Done)
    assert (outcome.turn_count, outcome.usage) == (2, TokenUsage(14, 47))


def test_a_recorded_copy() -> None:
    errand = BACKEND.fork(RESUMED)
    assert errand.spawn == BACKEND.spawn(RESUMED)
    assert errand.conversation is not None
    events, outcome = replay("kept-fork", errand.conversation)
    (init,) = events
    assert isinstance(init, Init)
    assert init.cli_session_id not in (SESSION, "", KEPT)
    assert outcome == Done(turn_count=0)


def test_a_recorded_session_that_is_lost() -> None:
    conversation = BACKEND.conversation(RESUMED, PROMPTS["kept-lost"])
    events, outcome = replay("kept-lost", conversation)
    assert (list(events), conversation.phase) == ([], Phase.SETTLED)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.exit_code) == (ErrorCode.SESSION_EXPIRED, 1)
    assert "begin a new one" in outcome.message


def test_a_session_that_is_lost_is_not_copied() -> None:
    conversation = BACKEND.fork(RESUMED).conversation
    assert conversation is not None
    for line in stdout_of("kept-lost"):
        assert not conversation.receive(line)
    assert not conversation.data_to_send()
    outcome = conversation.finish(0, "")
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.SESSION_EXPIRED


# ---------------------------------------------------------------------- the past is told first


def test_the_prompt_waits_until_all_of_the_past_is_told() -> None:
    conversation = talk()
    past = [piece("said before"), piece("thought before", "agent_thought_chunk"), tool_call()]
    assert hear(conversation, past[0], LOADED) == ([Init("m1", SESSION)], ["initialize"])
    assert hear(conversation, *past, ECHOED) == ([], ["initialize"])
    assert hear(conversation, past[0], ECHOED) == ([], ["initialize"])
    assert conversation.patience_s is None
    assert hear(conversation, ECHOED) == ([], ["session/prompt"])
    assert hear(conversation, piece("now"), answered()) == ([Message("now")], [])
    assert conversation.finish(0, "") == Done(TokenUsage(3, 5))


@pytest.mark.parametrize("prompt", ["/x", "$x", "?", " ? x", "<session_context>", "\n<hook_context> x"])
def test_what_gemini_would_leave_out_when_it_goes_on_is_disarmed(prompt: str) -> None:
    conversation = BACKEND.conversation(NEW, prompt)
    conversation.receive(*say({"id": 2, "result": {"sessionId": "s1"}}))
    request = json.loads(conversation.data_to_send())
    assert [part["text"] for part in request["params"]["prompt"]] == [NEXT_LINE, prompt]


def test_a_resumed_session_is_asked_by_the_name_it_was_loaded_by() -> None:
    conversation = talk("? why")
    hear(conversation, LOADED)
    for line in say(ECHOED, ECHOED):
        conversation.receive(line)
    request = json.loads(conversation.data_to_send().splitlines()[-1])
    assert request["params"]["sessionId"] == KEPT
    assert [part["text"] for part in request["params"]["prompt"]] == [NEXT_LINE, "? why"]


def test_what_happens_while_the_echo_is_awaited_can_fail() -> None:
    conversation = talk()
    hear(conversation, LOADED, {"id": 4, "error": {"code": 500, "message": "odd"}})
    outcome = conversation.finish(0, "")
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.BACKEND_FAILED


@given(st.lists(st.sampled_from(["update", "loaded", "echoed", "answered", "mode"]), max_size=12))
def test_no_order_makes_it_raise(kinds: list[str]) -> None:
    by_kind = {
        "update": piece("x"),
        "loaded": LOADED,
        "echoed": ECHOED,
        "answered": answered(),
        "mode": piece("[MODE_UPDATE] y"),
    }
    conversation = talk()
    events, _ = hear(conversation, *(by_kind[kind] for kind in kinds))
    assert all(isinstance(event, Init | Message | Progress) for event in events)
    assert isinstance(conversation.finish(0, ""), Done | Failed)


# ---------------------------------------------------------------------- what is started and kept


def test_a_session_that_is_kept_has_a_place_of_its_own() -> None:
    home = BACKEND.spawn(NEW).home
    assert home is not None
    assert home.kept is not None
    assert (home.kept.place, home.kept.resume) == (".gemini/clinvk/{session}.jsonl", "")
    (registry,) = [text for name, text in home.files if name == "projects.json"]
    project = json.loads(registry)["projects"][NEW.workdir]
    assert home.kept.written == f".gemini/tmp/{project}/chats/session-*.jsonl"
    assert BACKEND.spawn(NEW).in_advance
    assert BACKEND.forget(RESUMED).leftovers == (home.kept.place,)


def test_a_session_that_goes_on_is_loaded_from_its_file() -> None:
    spawn = BACKEND.spawn(RESUMED)
    assert [json.loads(line)["method"] for line in spawn.opening.splitlines()] == ["initialize", "session/load"]
    assert spawn.home is not None
    assert spawn.home.kept is not None
    assert spawn.home.kept.resume == SESSION
    assert json.loads(spawn.home.defaults)["security"]["auth"] == {"selectedType": "gemini-api-key"}
    ephemeral = BACKEND.spawn(PLAIN).home
    assert ephemeral is not None
    assert (ephemeral.kept, ephemeral.files, ephemeral.defaults) == (None, (), "{}")


# ---------------------------------------------------------------------- the record of a conversation


def lines(*records: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(text: bytes) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def user(ident: str, text: str) -> dict[str, Any]:
    return {"id": ident, "type": "user", "content": [{"text": text}]}


def result_of(ident: str, call: str) -> dict[str, Any]:
    return {"id": ident, "type": "user", "content": [{"functionResponse": {"id": call, "response": {}}}]}


def call_of(ident: str, call: str) -> dict[str, Any]:
    answer = [{"functionResponse": {"id": call, "response": {"output": "x"}}}]
    return {"id": ident, "type": "gemini", "content": "", "toolCalls": [{"id": call, "result": answer}]}


HEAD = {"sessionId": "s", "projectHash": "h", "kind": "main"}
CONTEXT = user("c", "<session_context>\nThis is the Gemini CLI.")
ANSWER = {"id": "g", "type": "gemini", "content": "hello"}


def test_a_recorded_chat_has_each_result_once() -> None:
    """gemini had taken it up again, and so it held the result of the first tool twice."""
    recorded = (RECORDINGS / "chats" / "tool-resumed.jsonl").read_bytes()
    header, *messages = read(tidied(recorded))
    assert header["kind"] == "main"
    said = [message["content"][-1]["text"] for message in messages if message["type"] == "user"]
    assert said == ["first FAKE:n=1 FAKE:think FAKE:tool", "/second FAKE:tool FAKE:n=2"]
    calls = [call["id"] for message in messages for call in message.get("toolCalls", [])]
    assert len(calls) == len(set(calls)) == 2
    assert recorded.count(b'"functionResponse"') > tidied(recorded).count(b'"functionResponse"') == 2
    assert tidied(tidied(recorded)) == tidied(recorded)


def test_later_lines_change_what_earlier_ones_said() -> None:
    recorded = lines(
        HEAD, {"$set": {"messages": [CONTEXT]}}, user("u", "first"), {"$set": {"lastUpdated": "2026"}}, ANSWER,
        {**ANSWER, "tokens": {}}, user("v", "wrong"), {"id": "w", "type": "gemini", "content": "y"}, {"$rewindTo": "v"},
        {"id": "i", "type": "info", "content": "imported"},
    )  # fmt: skip
    assert read(tidied(recorded)) == [{**HEAD, "lastUpdated": "2026"}, user("u", "first"), {**ANSWER, "tokens": {}}]
    assert tidied(lines(HEAD, ANSWER, {"$set": {"messages": [user("u", "summary")]}})) == tidied(
        lines(HEAD, user("u", "summary"))
    )
    assert tidied(lines({**HEAD, "messages": [ANSWER]})) == tidied(lines(HEAD, ANSWER))
    assert tidied(lines(HEAD, ANSWER, {"$rewindTo": "unknown"}, user("u", "x"))) == tidied(lines(HEAD, user("u", "x")))


def test_a_result_that_is_told_with_no_call_stays() -> None:
    alone, twice = result_of("r", "other"), result_of("r2", "call")
    kept = read(tidied(lines(HEAD, call_of("g", "call"), twice, alone)))
    assert kept == [HEAD, call_of("g", "call"), alone]


@pytest.mark.parametrize("recorded", [b"", lines(HEAD), lines(HEAD, {"$set": {"messages": [CONTEXT]}}), b"\n{\n[]\n"])
def test_there_is_nothing_to_go_on_from(recorded: bytes) -> None:
    assert tidied(recorded) == b""


def test_a_question_that_had_no_answer_is_something() -> None:
    """Else a session whose first turn has failed could not go on."""
    assert read(tidied(lines(HEAD, user("u", "x")))) == [HEAD, user("u", "x")]


KEYS = st.sampled_from((
    "id", "type", "content", "text", "toolCalls", "result", "functionResponse", "$set", "$rewindTo", "messages",
    "sessionId",
))  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(KEYS, JSON | st.sampled_from(["user", "gemini"]), max_size=6), max_size=6))
def test_no_record_makes_it_raise(records: list[dict[str, Any]]) -> None:
    assert len(tidied(lines(*records)).splitlines()) in (0, *range(2, 8))


@given(st.binary())
def test_no_bytes_make_it_raise(recorded: bytes) -> None:
    assert isinstance(tidied(recorded), bytes)
