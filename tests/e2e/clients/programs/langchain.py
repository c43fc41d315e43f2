"""LangChain's chat models: ``openai`` or ``anthropic``."""

import sys
from functools import cache

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import SecretStr

from tests.e2e.clients.programs.serving import End, Question, Talk, serve, server

MAX_TOKENS = 4096


@cache
def model(key: str, name: str) -> BaseChatModel:
    return make[sys.argv[1]](SecretStr(key), name)


def openai(key: SecretStr, name: str) -> BaseChatModel:
    from langchain_openai import ChatOpenAI  # loading either costs seconds

    return ChatOpenAI(
        model=name,
        base_url=f"{server()}/openai/v1",
        api_key=key,
        max_completion_tokens=MAX_TOKENS,
        stream_usage=True,
        use_responses_api=False,  # it would take another API for a model with "codex" in its name
    )


def anthropic(key: SecretStr, name: str) -> BaseChatModel:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(
        model_name=name,
        base_url=f"{server()}/anthropic/v1",
        api_key=key,
        max_tokens_to_sample=MAX_TOKENS,
        timeout=None,
        stop=None,
    )


make = {"openai": openai, "anthropic": anthropic}


def messages(question: Question) -> list[BaseMessage]:
    return [SystemMessage(question.system), HumanMessage(question.text)]


def end(message: AIMessage) -> End:
    used = message.usage_metadata
    stop = message.response_metadata.get("finish_reason") or message.response_metadata.get("stop_reason")
    return End(stop or "", used["input_tokens"] if used else 0, used["output_tokens"] if used else 0)


def plain(question: Question) -> Talk:
    message = model(question.key, question.model).invoke(messages(question))
    yield str(message.text)
    yield end(message)


def stream(question: Question) -> Talk:
    whole: AIMessage | None = None
    for chunk in model(question.key, question.model).stream(messages(question)):
        whole = chunk if whole is None else whole + chunk  # type: ignore[assignment]
        yield str(chunk.text)
    assert whole is not None
    yield end(whole)


if __name__ == "__main__":
    serve(plain, stream)
