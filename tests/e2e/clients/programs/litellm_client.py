"""LiteLLM as a client, with the dialect ``openai`` or ``anthropic``; it has a virtual environment of its own.

It is asked with coroutines, as its streams have no other way to be closed.
"""

import sys
from contextlib import aclosing
from typing import Any

import litellm

from tests.e2e.clients.programs.serving import AsyncTalk, End, Question, serve_async, server

MAX_TOKENS = 4096


def request(question: Question) -> dict[str, Any]:
    dialect = sys.argv[1]
    messages = [{"role": "system", "content": question.system}, {"role": "user", "content": question.text}]
    return {
        "model": f"{dialect}/{question.model}",
        "api_base": f"{server()}/{dialect}/v1",
        "api_key": question.key,
        "messages": messages,
        "max_tokens": MAX_TOKENS,
    }


def end(choice: Any, usage: Any) -> End:
    return End(choice.finish_reason or "", usage.prompt_tokens, usage.completion_tokens)


async def plain(question: Question) -> AsyncTalk:
    answer = await litellm.acompletion(**request(question))
    yield answer.choices[0].message.content
    yield end(answer.choices[0], answer.usage)


async def stream(question: Question) -> AsyncTalk:
    chunks = await litellm.acompletion(**request(question), stream=True, stream_options={"include_usage": True})
    kept = []
    async with aclosing(chunks):
        async for chunk in chunks:
            kept.append(chunk)
            yield "".join(choice.delta.content or "" for choice in chunk.choices)
    whole = litellm.stream_chunk_builder(kept)
    yield end(whole.choices[0], whole.usage)


def warm_up() -> None:
    """Load what the library loads with its first stream, which takes as long as that stream."""
    asked = [{"role": "user", "content": "hello"}]
    for _ in litellm.completion(model="openai/none", messages=asked, mock_response="hello", stream=True):
        pass


if __name__ == "__main__":
    litellm.suppress_debug_info = True  # prints advice to stdout
    warm_up()
    serve_async(plain, stream)
