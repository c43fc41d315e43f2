"""Anthropic's own Python SDK, unmodified, against a real server with the fake CLIs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_cli.install import seen
from tests.support.later import Later
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import anthropic
else:
    anthropic = Later("anthropic")

KEY = "a-key-of-some-length"
BACKENDS = ("claude", "codex", "gemini")
BASES = ("/anthropic/v1", "/anthropic")
TIMEOUT_S = 4
GONE_WITHIN_S = 2.0
LIMIT: dict[str, Any] = {"max_tokens": 1024}


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers(
        {
            "server": {"request_timeout_secs": TIMEOUT_S, "max_concurrent_runs": 4},
            "backends": {"claude": {"models": ["opus", "sonnet"]}},
        },
        environment={"CLINVK_API_KEYS": KEY},
        headers={"X-Api-Key": KEY},
    )


def url(server: Server, base: str = "/anthropic/v1") -> str:
    return f"http://127.0.0.1:{server.port}{base}"


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url(server), api_key=KEY) as made:
        yield made


def said(words: str) -> list[Any]:
    return [{"role": "user", "content": words}]


def text_of(answer: anthropic.types.Message) -> str:
    (block,) = answer.content
    assert isinstance(block, anthropic.types.TextBlock)
    return block.text


# ---------------------------------------------------------------------- answers


@pytest.mark.parametrize(("base", "model"), [*product(BASES, BACKENDS)])
def test_plain(server: Server, base: str, model: str) -> None:
    with anthropic.Anthropic(base_url=url(server, base), auth_token=KEY) as client:
        answer = client.messages.create(model=model, messages=said("FAKE:n=2"), system="Be brief.", **LIMIT)
    assert text_of(answer).endswith("| w0 w1 ")
    assert seen(text_of(answer))["sys"] == str(len("Be brief."))
    assert (answer.role, answer.stop_reason, answer.stop_sequence) == ("assistant", "end_turn", None)
    assert answer.id.startswith("msg_")
    assert answer.usage.output_tokens > 0
    assert answer._request_id


def test_usage_is_counted_as_anthropic_counts(client: anthropic.Anthropic) -> None:
    usage = client.messages.create(model="claude", messages=said("hello"), **LIMIT).usage
    assert (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (5, 7, 11)
    assert usage.output_tokens == 9


@pytest.mark.parametrize("model", BACKENDS)
def test_stream(client: anthropic.Anthropic, model: str) -> None:
    words = said("FAKE:n=4 FAKE:delay=0.01")
    events = list(client.messages.create(model=model, messages=words, stream=True, **LIMIT))
    start, end = events[0], events[-2]
    assert start.type == "message_start"
    assert start.message.usage.input_tokens > 0
    assert (start.message.stop_reason, start.message.stop_sequence) == (None, None)
    assert end.type == "message_delta"
    assert end.delta.stop_reason == "end_turn"
    assert end.usage.output_tokens > 0
    assert events[-1].type == "message_stop"
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert len(deltas) >= 4
    assert "".join(delta.text for delta in deltas if delta.type == "text_delta").endswith("| w0 w1 w2 w3 ")


def test_the_helper_for_streams(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="claude", messages=said("FAKE:n=3"), **LIMIT) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) >= 3
    assert text_of(final) == "".join(pieces)
    assert final.stop_reason == "end_turn"
    assert (final.usage.input_tokens, final.usage.cache_read_input_tokens, final.usage.output_tokens) == (5, 11, 9)
    assert stream.request_id


def test_thoughts_come_before_the_answer_for_those_who_ask(client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "claude", "max_tokens": 2048, "messages": said("FAKE:think FAKE:n=1")}
    thinking: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    with client.messages.stream(**asked, **thinking) as stream:
        kinds = [event.type for event in stream if event.type in ("thinking", "text")]
        final = stream.get_final_message()
    assert kinds == sorted(kinds, reverse=True)
    for answer in (final, client.messages.create(**asked, **thinking)):
        thought, text = answer.content
        assert isinstance(thought, anthropic.types.ThinkingBlock)
        assert isinstance(text, anthropic.types.TextBlock)
        assert thought.thinking == "let me think"
        assert text.text.endswith("| w0 ")
    back = [*asked["messages"], {"role": "assistant", "content": final.content}, *said("And now?")]
    answer = client.messages.create(**(asked | {"messages": back}))
    assert text_of(answer).startswith("fake-cli name=claude")


def test_a_conversation_ends_at_a_stop_sequence(client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "claude", "messages": said("FAKE:n=500 FAKE:delay=0.01"), **LIMIT}
    began_s = time.monotonic()
    plain = client.messages.create(**asked, stop_sequences=["w2 w3", "never"])
    with client.messages.stream(**asked, stop_sequences=["w2 w3"]) as stream:
        streamed = stream.get_final_message()
    assert time.monotonic() - began_s < TIMEOUT_S
    for answer in (plain, streamed):
        assert text_of(answer).endswith("| w0 w1 ")
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "w2 w3")
        assert answer.usage.input_tokens > 0
        assert answer.usage.output_tokens > 10


def test_raw_responses(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(
        model="codex",
        messages=said("hello"),
        metadata={"user_id": "me"},
        extra_headers={"X-Request-Id": "mine-1"},
        **LIMIT,
    )
    assert raw.headers["request-id"] == "mine-1"
    assert "metadata" in raw.headers["x-clinvk-ignored"].split(", ")
    assert raw.headers["x-clinvk-run"]
    assert raw.parse().stop_reason == "end_turn"


def test_betas(client: anthropic.Anthropic) -> None:
    answer = client.beta.messages.create(model="claude", messages=said("hello"), betas=["some-beta"], **LIMIT)
    assert answer.stop_reason == "end_turn"


def test_asynchronously(server: Server) -> None:
    async def ask() -> tuple[str, str, int, list[str]]:
        async with anthropic.AsyncAnthropic(base_url=url(server), api_key=KEY) as client:
            plain = await client.messages.create(model="gemini", messages=said("hello"), **LIMIT)
            async with client.messages.stream(model="gemini", messages=said("hello"), **LIMIT) as stream:
                streamed = "".join([text async for text in stream.text_stream])
            count = await client.messages.count_tokens(model="gemini", messages=said("hello"))
            models = [model.id async for model in client.models.list(limit=2)]
            return text_of(plain), streamed, count.input_tokens, models

    plain, streamed, count, models = asyncio.run(ask())
    assert plain == streamed
    assert count > 0
    assert models == ["claude", "claude/opus", "claude/sonnet", "codex", "gemini"]


def test_tokens_are_estimated_and_said_to_be(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.count_tokens(
        model="claude", messages=said("word " * 700), system="Be brief.", tools=[{"name": "f", "input_schema": {}}]
    )
    assert raw.headers["x-clinvk-usage"] == "estimated"
    assert raw.parse().input_tokens == pytest.approx(1000, rel=0.1)


def test_models(client: anthropic.Anthropic) -> None:
    every = ["claude", "claude/opus", "claude/sonnet", "codex", "gemini"]
    first = client.models.list(limit=2)
    assert ([model.id for model in first.data], first.has_more) == (every[:2], True)
    assert [model.id for model in first] == every
    before = client.models.list(before_id="codex", limit=2)
    assert ([model.id for model in before.data], before.has_more) == (every[1:3], True)
    assert client.models.retrieve("claude/opus").display_name
    with pytest.raises(anthropic.NotFoundError, match="nobody/x"):
        client.models.retrieve("nobody/x")


# ---------------------------------------------------------------------- failures

Failure = tuple[dict[str, Any], str, int, str, str, int]
FAILURES: dict[str, Failure] = {
    "unknown model": ({"model": "claude/nosuch", "messages": said("FAKE:404")},
                      "NotFoundError", 404, "not_found_error", "'nosuch'", 1),
    "no messages": ({"messages": []}, "BadRequestError", 400, "invalid_request_error", "messages", 0),
    "tools": ({"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
              "BadRequestError", 400, "invalid_request_error", "tools", 0),
    "prefill": ({"messages": [*said("x"), {"role": "assistant", "content": "{"}]},
                "BadRequestError", 400, "invalid_request_error", "prefill", 0),
    "context too long": ({"messages": said("FAKE:toolong")},
                         "BadRequestError", 400, "invalid_request_error", "shorten it", 1),
    "not logged in": ({"messages": said("FAKE:401")},
                      "InternalServerError", 502, "api_error", "log in", 1),
    "rate limit": ({"messages": said("FAKE:429")}, "RateLimitError", 429, "rate_limit_error", "429", 1),
    "overloaded": ({"messages": said("FAKE:529")}, "OverloadedError", 529, "overloaded_error", "529", 1),
    "killed": ({"messages": said("FAKE:die=9 FAKE:early")},
               "InternalServerError", 502, "api_error", "signal 9", 1),
    "timeout": ({"messages": said("FAKE:hang FAKE:early FAKE:first=60")},
                "GatewayTimeoutError", 504, "timeout_error", "did not finish", 1),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_the_right_exception_and_nothing_is_run_twice(
    server: Server, client: anthropic.Anthropic, name: str, stream: bool
) -> None:
    request, kind, status, type_, words, starts = FAILURES[name]
    expected = getattr(anthropic, kind)
    before = len(server.clis.starts())
    asked: dict[str, Any] = {"model": "claude", "messages": said("x"), **LIMIT, **request}
    with pytest.raises(expected) as raised:
        client.messages.create(**asked, stream=stream)
    error = raised.value
    assert type(error) is expected
    assert (error.status_code, error.type) == (status, type_)
    assert words in (error.api_message or "")
    assert error.request_id
    assert isinstance(error.body, dict)
    assert error.body["request_id"] == error.request_id
    assert len(server.clis.starts()) - before == starts
    if starts:
        assert error.response.headers["x-should-retry"] == "false"
    if status in (429, 529):
        assert int(error.response.headers["retry-after"]) > 0


@pytest.mark.parametrize("by", ["api_key", "auth_token"])
def test_a_wrong_key(server: Server, by: str) -> None:
    keys: dict[str, Any] = {by: "wrong"}
    with (
        anthropic.Anthropic(base_url=url(server), **keys) as client,
        pytest.raises(anthropic.AuthenticationError) as raised,
    ):
        client.messages.create(model="claude", messages=said("x"), **LIMIT)
    assert raised.value.type == "authentication_error"
    assert raised.value.request_id


def test_a_cli_that_is_not_installed_is_not_asked_for_again(start_server: ServerFactory) -> None:
    server = start_server(path=lambda folder: str(folder / "nothing"))
    with (
        anthropic.Anthropic(base_url=url(server), api_key="none") as client,
        pytest.raises(anthropic.ServiceUnavailableError, match="npm install -g @openai/codex") as raised,
    ):
        client.messages.create(model="codex", messages=said("x"), **LIMIT)
    assert raised.value.type == "api_error"
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_a_full_queue_may_be_tried_again(start_server: ServerFactory) -> None:
    server = start_server({"server": {"max_concurrent_runs": 1, "max_queued_runs": 0}})
    with (
        anthropic.Anthropic(base_url=url(server), api_key="none", max_retries=0) as client,
        client.messages.stream(model="claude", messages=said("FAKE:hang"), **LIMIT) as stream,
    ):
        assert next(iter(stream.text_stream))
        with pytest.raises(anthropic.OverloadedError) as raised:
            client.messages.create(model="codex", messages=said("x"), **LIMIT)
    assert raised.value.type == "overloaded_error"
    assert int(raised.value.response.headers["retry-after"]) > 0
    assert "x-should-retry" not in raised.value.response.headers


def test_a_failure_in_the_middle_of_a_stream_is_raised(client: anthropic.Anthropic) -> None:
    pieces: list[str] = []
    with (
        client.messages.stream(model="claude", messages=said("FAKE:die=9 FAKE:delay=0.05"), **LIMIT) as stream,
        pytest.raises(anthropic.APIStatusError, match="signal 9") as raised,
    ):
        pieces.extend(stream.text_stream)
    assert pieces
    assert raised.value.type == "api_error"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_client_that_gives_up_ends_the_run(server: Server, client: anthropic.Anthropic, stream: bool) -> None:
    impatient = client.with_options(timeout=0.7, max_retries=0)
    words = said("FAKE:hang FAKE:first=60")
    with pytest.raises(anthropic.APITimeoutError):
        impatient.messages.create(model="claude", messages=words, stream=stream, **LIMIT)
    server.wait_until_idle(GONE_WITHIN_S)


def test_a_client_that_stops_reading_a_stream_ends_the_run(server: Server, client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="claude", messages=said("FAKE:n=400 FAKE:delay=0.02"), **LIMIT) as stream:
        next(iter(stream.text_stream))
        assert server.of_runs()
    server.wait_until_idle(GONE_WITHIN_S)
    wait_until(lambda: server.client.get("/health").json()["runs"]["active"] == 0, GONE_WITHIN_S)
