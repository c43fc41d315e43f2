"""The official OpenAI library for Python: ``sync`` (with raw responses), ``async``, or its ``helper`` for streams."""

import sys
from functools import cache

from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

from tests.e2e.clients.programs.serving import AsyncTalk, End, Question, Talk, serve, serve_async, server


@cache
def client(key: str) -> OpenAI:
    return OpenAI(base_url=f"{server()}/openai/v1", api_key=key)


@cache
def async_client(key: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{server()}/openai/v1", api_key=key)


def messages(question: Question) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": question.system}, {"role": "user", "content": question.text}]


def whole(completion: ChatCompletion, request_id: str) -> tuple[str, End]:
    """The text and the end of a whole answer."""
    (choice,) = completion.choices
    assert completion.usage is not None
    assert choice.message.content is not None
    used = completion.usage
    return choice.message.content, End(choice.finish_reason, used.prompt_tokens, used.completion_tokens, request_id)


def said(chunk: ChatCompletionChunk) -> str:
    return "".join(choice.delta.content or "" for choice in chunk.choices)


class Ending:
    """Gathers the end of an answer from its chunks."""

    def __init__(self, request_id: str) -> None:
        self.end = End(request_id=request_id)

    def look(self, chunk: ChatCompletionChunk) -> None:
        stop = next((choice.finish_reason for choice in chunk.choices if choice.finish_reason), self.end.stop)
        used = chunk.usage
        tokens = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
        self.end = End(stop, *tokens, self.end.request_id)


def plain(question: Question) -> Talk:
    raw = client(question.key).chat.completions.with_raw_response.create(
        model=question.model, messages=messages(question)
    )
    yield from whole(raw.parse(), raw.headers["x-request-id"])


def stream(question: Question) -> Talk:
    with client(question.key).chat.completions.create(
        model=question.model, messages=messages(question), stream=True, stream_options={"include_usage": True}
    ) as chunks:
        ending = Ending(chunks.response.headers["x-request-id"])
        for chunk in chunks:
            ending.look(chunk)
            yield said(chunk)
        yield ending.end


async def plain_async(question: Question) -> AsyncTalk:
    completion = await async_client(question.key).chat.completions.create(
        model=question.model, messages=messages(question)
    )
    for part in whole(completion, completion._request_id or ""):
        yield part


async def stream_async(question: Question) -> AsyncTalk:
    async with await async_client(question.key).chat.completions.create(
        model=question.model, messages=messages(question), stream=True, stream_options={"include_usage": True}
    ) as chunks:
        ending = Ending(chunks.response.headers["x-request-id"])
        async for chunk in chunks:
            ending.look(chunk)
            yield said(chunk)
        yield ending.end


def plain_helper(question: Question) -> Talk:
    """``parse``, the helper for a whole answer."""
    completion = client(question.key).chat.completions.parse(model=question.model, messages=messages(question))
    yield from whole(completion, completion._request_id or "")


def stream_helper(question: Question) -> Talk:
    with client(question.key).chat.completions.stream(
        model=question.model, messages=messages(question), stream_options={"include_usage": True}
    ) as events:
        for event in events:
            if event.type == "content.delta":
                yield event.delta
        yield whole(events.get_final_completion(), "")[1]


if __name__ == "__main__":
    match sys.argv[1]:
        case "sync":
            serve(plain, stream)
        case "async":
            serve_async(plain_async, stream_async)
        case "helper":
            serve(plain_helper, stream_helper)
