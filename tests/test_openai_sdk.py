"""OpenAI's own Python SDK, unmodified, against a real server with the fake CLIs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_cli.install import seen
from tests.support.later import Later
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import openai
else:
    openai = Later("openai")

KEY = "a-key-of-some-length"
BACKENDS = ("claude", "codex", "gemini")
TIMEOUT_S = 4


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers(
        {"server": {"request_timeout_secs": TIMEOUT_S, "max_concurrent_runs": 4}},
        environment={"CLINVK_API_KEYS": KEY},
        headers={"X-Api-Key": KEY},
    )


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/openai/v1", api_key=KEY) as made:
        yield made


def said(words: str) -> list[Any]:
    return [{"role": "user", "content": words}]


@pytest.mark.parametrize("model", BACKENDS)
def test_plain(client: openai.OpenAI, model: str) -> None:
    told = [{"role": "system", "content": "Be brief."}, *said("FAKE:n=2")]
    answer = client.chat.completions.create(model=model, messages=told)
    (choice,) = answer.choices
    assert choice.message.content is not None
    assert choice.message.content.endswith("| w0 w1 ")
    assert choice.message.refusal is None
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert seen(choice.message.content)["sys"] == str(len("Be brief."))
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer._request_id


@pytest.mark.parametrize("model", BACKENDS)
def test_stream(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=said("FAKE:n=4 FAKE:delay=0.01"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert len({chunk.id for chunk in chunks}) == 1
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text.endswith("| w0 w1 w2 w3 ")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_the_helper_for_streams(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="claude", messages=said("FAKE:n=3 FAKE:think")) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "".join(pieces)
    assert final.choices[0].finish_reason == "stop"


def test_reasoning_comes_apart_from_the_answer(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(model="claude", messages=said("FAKE:think FAKE:n=1"), stream=True)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert thoughts == "let me think"
    assert "let me think" not in "".join(delta.content or "" for delta in deltas)


def test_raw_responses(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="codex", messages=said("hello"), seed=7, temperature=0.5, extra_headers={"X-Request-Id": "mine-1"}
    )
    assert raw.request_id == raw.headers["x-request-id"] == "mine-1"
    assert set(raw.headers["x-clinvk-ignored"].split(", ")) == {"seed", "temperature"}
    assert raw.headers["x-clinvk-run"]
    assert raw.parse().choices[0].finish_reason == "stop"


def test_asynchronously(server: Server) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{server.port}/openai/v1", api_key=KEY) as client:
            plain = await client.chat.completions.create(model="gemini", messages=said("hello"))
            stream = await client.chat.completions.create(model="gemini", messages=said("hello"), stream=True)
            streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return plain.choices[0].message.content or "", streamed

    plain, streamed = asyncio.run(ask())
    assert plain == streamed
    assert plain.endswith("w2 ")


def test_models(client: openai.OpenAI) -> None:
    assert {"claude", "codex", "gemini"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("codex").owned_by == "openai"
    with pytest.raises(openai.NotFoundError, match="nobody"):
        client.models.retrieve("nobody/x")


# ---------------------------------------------------------------------- failures

Failure = tuple[str, dict[str, Any], str, int, str]
FAILURES: list[Failure] = [
    ("unknown model", {"model": "claude/nosuch", "messages": said("FAKE:404")}, "NotFoundError", 404, "nosuch"),
    ("no messages", {"messages": []}, "BadRequestError", 400, "messages"),
    ("not logged in", {"messages": said("FAKE:401")}, "InternalServerError", 502, "log"),
    ("rate limit", {"messages": said("FAKE:429")}, "RateLimitError", 429, "429"),
    ("overloaded", {"messages": said("FAKE:529")}, "InternalServerError", 503, "529"),
    ("context too long", {"messages": said("FAKE:toolong")}, "BadRequestError", 400, "long"),
    ("killed", {"messages": said("FAKE:die=9 FAKE:early")}, "InternalServerError", 502, "signal 9"),
    ("timeout", {"messages": said("FAKE:hang FAKE:early")}, "InternalServerError", 504, "did not finish"),
    (
        "image",
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "BadRequestError",
        400,
        "text",
    ),
    ("tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "BadRequestError", 400, "Tools"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure[0])
def test_a_failure_is_the_right_exception_and_nothing_is_run_twice(
    server: Server, client: openai.OpenAI, failure: Failure, stream: bool
) -> None:
    _, request, kind, status, words = failure
    expected = getattr(openai, kind)
    create: Callable[..., Any] = client.chat.completions.create
    starts = len(server.clis.starts())
    with pytest.raises(expected) as raised:
        create(**({"model": "claude", "messages": said("x")} | request), stream=stream)
    error = raised.value
    assert type(error) is expected
    assert error.status_code == status
    assert words in error.message
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert len(server.clis.starts()) - starts == (0 if status == 400 and "long" not in words else 1)
    if status == 429:
        assert int(error.response.headers["retry-after"]) > 0


def test_a_wrong_key(server: Server) -> None:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/openai/v1", api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError, match="not known") as raised:
            client.chat.completions.create(model="claude", messages=said("x"))
        assert raised.value.code == "invalid_api_key"


def test_a_cli_that_is_not_installed(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server(path=lambda folder: str(folder / "nothing"))
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/openai/v1", api_key="none") as client:
        with pytest.raises(openai.InternalServerError, match="npm install -g @openai/codex") as raised:
            client.chat.completions.create(model="codex", messages=said("x"))
        assert raised.value.status_code == 503


def test_a_failure_in_the_middle_of_a_stream_is_raised(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(model="claude", messages=said("FAKE:die=9 FAKE:delay=0.05"), stream=True)
    pieces = []
    with pytest.raises(openai.APIError, match="signal 9"):
        pieces += [chunk.choices[0].delta.content for chunk in chunks]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_gives_up_ends_the_run(server: Server, client: openai.OpenAI, stream: bool) -> None:
    def ask() -> None:
        impatient = client.with_options(timeout=0.7, max_retries=0)
        answer = impatient.chat.completions.create(model="claude", messages=said("FAKE:hang FAKE:n=2"), stream=stream)
        if stream:
            list(answer)

    with pytest.raises((openai.APITimeoutError, openai.APIConnectionError, openai.APIError)) as raised:
        ask()
    assert "tim" in repr(raised.value).lower()
    server.wait_until_idle(2)


def test_a_client_that_stops_reading_a_stream_ends_the_run(server: Server, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="claude", messages=said("FAKE:n=400 FAKE:delay=0.02"), stream=True)
    next(iter(stream))
    assert server.of_runs()
    stream.close()
    server.wait_until_idle(2)


def _in_parallel(work: Callable[[], None], number: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_at_once(server: Server, client: openai.OpenAI) -> None:
    answers: list[str] = []

    def ask() -> None:
        answer = client.chat.completions.create(model="codex", messages=said("FAKE:n=1"))
        answers.append(answer.choices[0].message.content or "")

    _in_parallel(ask, 12)
    assert len(answers) == 12
    assert all(answer.endswith("w0 ") for answer in answers)
    wait_until(lambda: server.client.get("/health").json()["runs"]["active"] == 0)
