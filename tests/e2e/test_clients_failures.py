"""What goes wrong arrives as the exception that the official libraries have for it, with a message that helps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.later import Later
from tests.support.server import Server, ServerFactory

if TYPE_CHECKING:
    import anthropic
    import openai
    from anthropic.types import MessageParam
    from openai.types.chat import ChatCompletionMessageParam
else:
    anthropic, openai = Later("anthropic"), Later("openai")


KEY = "key-of-the-clients"
TIMEOUT_S = 2
HALF = "FAKE:die=9 FAKE:delay=0.1"
"""Half of an answer, then the CLI is killed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that fails: the class that OpenAI's and Anthropic's libraries raise, with which status and words.

    ``runs`` is how often a CLI is started for it: never more than once, though the libraries repeat what they may.
    """

    name: str
    errors: tuple[str, str]
    statuses: tuple[int, int]
    says: str
    model: str = "claude"
    text: str = "hello"
    key: str = KEY
    runs: int = 1
    retry_after: bool = False

    def __str__(self) -> str:
        return self.name


def both(name: str) -> tuple[str, str]:
    """The class has that name in either library."""
    return name, name


FAILURES = (
    Failure("wrong key", both("AuthenticationError"), (401, 401), "key", key="wrong", runs=0),
    Failure("empty message", both("BadRequestError"), (400, 400), "messages", text="", runs=0),
    Failure("not installed", both("InternalServerError"), (503, 503), "npm install", model="codex", runs=0),
    Failure("unknown model", both("NotFoundError"), (404, 404), "model", text="FAKE:404"),
    Failure("context too long", both("BadRequestError"), (400, 400), "too long", text="FAKE:toolong"),
    Failure("not logged in", both("InternalServerError"), (502, 502), "log in", text="FAKE:401"),
    Failure("rate limit", both("RateLimitError"), (429, 429), "limit", text="FAKE:429", retry_after=True),
    Failure(
        "overloaded",
        ("InternalServerError", "APIStatusError"),
        (503, 529),
        "overloaded",
        text="FAKE:529",
        retry_after=True,
    ),
    Failure("killed", both("InternalServerError"), (502, 502), "signal", text="FAKE:die=9 FAKE:early"),
    Failure("timeout", both("InternalServerError"), (504, 504), f"within {TIMEOUT_S} s", text="FAKE:hang FAKE:early"),
)


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    """A server with fakes of the CLIs, but for codex, which is not installed."""
    config = {
        "server": {"request_timeout_secs": TIMEOUT_S},
        "backends": {"codex": {"executable": "/nowhere/codex"}},
    }
    return servers(config, environment={"CLINVK_API_KEYS": KEY})


def openai_client(server: Server, key: str = KEY, **options: float) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/openai/v1", api_key=key, **options)  # type: ignore[arg-type]


def anthropic_client(server: Server, key: str = KEY, **options: float) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{server.port}/anthropic/v1", api_key=key, **options)  # type: ignore[arg-type]


def ask_openai(client: openai.OpenAI, model: str, text: str, *, stream: bool) -> None:
    """Ask, and read all of the answer."""
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], stream=stream)
    assert [*answer], "something is said, or an error raised"


def ask_anthropic(client: anthropic.Anthropic, model: str, text: str, *, stream: bool) -> None:
    """Ask, and read all of the answer."""
    answer = client.messages.create(
        model=model, max_tokens=99, messages=[{"role": "user", "content": text}], stream=stream
    )
    assert [*answer], "something is said, or an error raised"


@pytest.fixture
def runs(server: Server) -> Iterator[Callable[[], int]]:
    """How many CLIs were asked in this test."""
    before = len(server.clis.entries("prompt"))
    yield lambda: len(server.clis.entries("prompt")) - before
    server.wait_until_idle()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_openais_library_raises_what_happened(
    failure: Failure, stream: bool, server: Server, runs: Callable[[], int]
) -> None:
    client = openai_client(server, failure.key)
    with client, pytest.raises(getattr(openai, failure.errors[0])) as caught:
        ask_openai(client, failure.model, failure.text, stream=stream)
    assert isinstance(caught.value, openai.APIStatusError)
    check(failure, caught.value.status_code, failure.statuses[0], caught.value.message, caught.value.response.headers)
    assert runs() == failure.runs


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_anthropics_library_raises_what_happened(
    failure: Failure, stream: bool, server: Server, runs: Callable[[], int]
) -> None:
    client = anthropic_client(server, failure.key)
    with client, pytest.raises(getattr(anthropic, failure.errors[1])) as caught:
        ask_anthropic(client, failure.model, failure.text, stream=stream)
    assert isinstance(caught.value, anthropic.APIStatusError)
    check(failure, caught.value.status_code, failure.statuses[1], caught.value.message, caught.value.response.headers)
    assert runs() == failure.runs


def check(failure: Failure, status: int, wanted: int, message: str, headers: Mapping[str, str]) -> None:
    assert status == wanted, message
    assert failure.says in message
    if failure.retry_after:
        assert int(headers.get("retry-after", "0")) > 0


def listen_openai(server: Server, said: list[str]) -> None:
    """Keep what the library gives, as it gives it."""
    question: ChatCompletionMessageParam = {"role": "user", "content": HALF}
    with openai_client(server) as client:
        for chunk in client.chat.completions.create(model="claude", messages=[question], stream=True):
            said.extend(choice.delta.content or "" for choice in chunk.choices)


def listen_anthropic(server: Server, said: list[str]) -> None:
    """Keep what the library gives, as it gives it."""
    question: MessageParam = {"role": "user", "content": HALF}
    with anthropic_client(server) as client:
        for event in client.messages.create(model="claude", max_tokens=99, messages=[question], stream=True):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                said.append(event.delta.text)


@pytest.mark.parametrize("library", ["openai", "anthropic"])
def test_a_failure_in_the_middle_of_a_stream_is_raised_too(
    library: str, server: Server, runs: Callable[[], int]
) -> None:
    said: list[str] = []
    if library == "openai":
        with pytest.raises(openai.APIError, match="signal"):
            listen_openai(server, said)
    else:
        with pytest.raises(anthropic.APIStatusError, match="signal"):
            listen_anthropic(server, said)
    assert "".join(said).startswith("fake-cli name=claude")
    assert runs() == 1


@pytest.mark.parametrize("ask", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_client_that_waits_no_longer_ends_its_run(
    ask: str, stream: bool, server: Server, runs: Callable[[], int]
) -> None:
    text = "FAKE:hang FAKE:early"
    if ask == "openai":
        with openai_client(server, timeout=0.5, max_retries=0) as client, pytest.raises(openai.APITimeoutError):
            ask_openai(client, "claude", text, stream=stream)
    else:
        with (
            anthropic_client(server, timeout=0.5, max_retries=0) as other,
            pytest.raises(anthropic.APITimeoutError),
        ):
            ask_anthropic(other, "claude", text, stream=stream)
    server.wait_until_idle(TIMEOUT_S / 2)
    assert runs() == 1
