"""The official Anthropic library for Python: ``sync`` (raw responses), ``async``, or its ``helper`` for streams."""

import sys
from functools import cache
from typing import Any

from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message, RawMessageStreamEvent

from tests.e2e.clients.programs.serving import AsyncTalk, End, Question, Talk, serve, serve_async, server

MAX_TOKENS = 4096


@cache
def client(key: str) -> Anthropic:
    return Anthropic(base_url=f"{server()}/anthropic/v1", api_key=key)


@cache
def async_client(key: str) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=f"{server()}/anthropic/v1", api_key=key)


def request(question: Question) -> dict[str, Any]:
    return {
        "model": question.model,
        "max_tokens": MAX_TOKENS,
        "system": question.system,
        "messages": [{"role": "user", "content": question.text}],
    }


def text(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def end(message: Message, request_id: str) -> End:
    used = message.usage
    return End(message.stop_reason or "", used.input_tokens, used.output_tokens, request_id)


class Ending:
    """Gathers the end of an answer from its events."""

    def __init__(self, request_id: str) -> None:
        self.end = End(request_id=request_id)

    def look(self, event: RawMessageStreamEvent) -> str:
        """Take note of an event; the text in it."""
        match event.type:
            case "message_start":
                self.end = End("", event.message.usage.input_tokens, 0, self.end.request_id)
            case "message_delta":
                tokens = (event.usage.input_tokens or self.end.input_tokens, event.usage.output_tokens)
                self.end = End(event.delta.stop_reason or "", *tokens, self.end.request_id)
            case "content_block_delta" if event.delta.type == "text_delta":
                return event.delta.text
        return ""


def plain(question: Question) -> Talk:
    raw = client(question.key).messages.with_raw_response.create(**request(question))
    message: Message = raw.parse()
    yield text(message)
    yield end(message, raw.headers["request-id"])


def stream(question: Question) -> Talk:
    with client(question.key).messages.create(**request(question), stream=True) as events:
        ending = Ending(events.response.headers["request-id"])
        for event in events:
            yield ending.look(event)
        yield ending.end


async def plain_async(question: Question) -> AsyncTalk:
    message: Message = await async_client(question.key).messages.create(**request(question))
    yield text(message)
    yield end(message, message._request_id or "")


async def stream_async(question: Question) -> AsyncTalk:
    async with await async_client(question.key).messages.create(**request(question), stream=True) as events:
        ending = Ending(events.response.headers["request-id"])
        async for event in events:
            yield ending.look(event)
        yield ending.end


def stream_helper(question: Question) -> Talk:
    with client(question.key).messages.stream(**request(question)) as events:
        yield from events.text_stream
        yield end(events.get_final_message(), events.request_id or "")


def plain_helper(question: Question) -> Talk:
    """A whole answer by the helper: what most people write for a long one."""
    with client(question.key).messages.stream(**request(question)) as events:
        yield events.get_final_text()
        yield end(events.get_final_message(), events.request_id or "")


if __name__ == "__main__":
    match sys.argv[1]:
        case "sync":
            serve(plain, stream)
        case "async":
            serve_async(plain_async, stream_async)
        case "helper":
            serve(plain_helper, stream_helper)
