"""LiteLLM as a client, with the dialect ``openai`` or ``anthropic``; it has a virtual environment of its own."""

import sys
from typing import Any

import litellm

from tests.e2e.clients.programs.serving import End, Question, Talk, serve, server

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


def plain(question: Question) -> Talk:
    answer = litellm.completion(**request(question))
    yield answer.choices[0].message.content
    yield end(answer.choices[0], answer.usage)


def stream(question: Question) -> Talk:
    chunks = litellm.completion(**request(question), stream=True, stream_options={"include_usage": True})
    kept = []
    for chunk in chunks:
        kept.append(chunk)
        yield "".join(choice.delta.content or "" for choice in chunk.choices)
    whole = litellm.stream_chunk_builder(kept)
    yield end(whole.choices[0], whole.usage)


if __name__ == "__main__":
    litellm.suppress_debug_info = True  # prints advice to stdout
    serve(plain, stream)
