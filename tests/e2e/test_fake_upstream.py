"""The fake model server answers each provider's requests in its shape, and keeps what came."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.fake_upstream import ModelServer
from tests.support.client import Client, Exchange
from tests.support.waiting import wait_until

PATHS = {
    "anthropic": "/v1/messages",
    "openai": "/v1/responses",
    "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse",
}
PROVIDERS = sorted(PATHS)


def body(provider: str, prompt: str, *, model: str = "m") -> dict[str, Any]:
    match provider:
        case "anthropic":
            messages = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
            return {"model": model, "stream": True, "system": "be brief", "messages": messages}
        case "openai":
            return {"model": model, "instructions": "be brief", "input": prompt, "stream": True}
        case _:
            system = {"parts": [{"text": "be brief"}]}
            return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "systemInstruction": system}


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def client(upstream: ModelServer) -> Client:
    return Client(int(upstream.server_address[1]))


def ask(upstream: ModelServer, provider: str, prompt: str, **more: Any) -> Exchange:
    headers = {"x-api-key": more.pop("key", "dummy")}
    path = PATHS[provider].replace("/m:", f"/{more.get('model', 'm')}:")
    return client(upstream).send("POST", path, body(provider, prompt, **more), headers=headers)


def events(exchange: Exchange) -> list[dict[str, Any]]:
    lines = (line.data for line in exchange.lines())
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


def text(provider: str, happened: list[dict[str, Any]]) -> str:
    """The text of a stream, as a client of the provider reads it."""
    match provider:
        case "anthropic":
            deltas = (event["delta"] for event in happened if event["type"] == "content_block_delta")
            return "".join(delta["text"] for delta in deltas if delta["type"] == "text_delta")
        case "openai":
            return "".join(event["delta"] for event in happened if event["type"] == "response.output_text.delta")
        case _:
            parts = (part for event in happened for part in event["candidates"][0]["content"]["parts"])
            return "".join(part.get("text", "") for part in parts if not part.get("thought"))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_says_what_it_saw(upstream: ModelServer, provider: str) -> None:
    with ask(upstream, provider, "hello FAKE:n=2") as answer:
        said = text(provider, events(answer))

    assert said == "fake turn=1 chars=14 model=m sys=8 | w0 w1 "


@pytest.mark.parametrize("provider", PROVIDERS)
def test_keeps_every_byte_that_came(upstream: ModelServer, provider: str) -> None:
    prompt = "-/!# @/etc/passwd \u00e9\U0001f389 " + "x" * 1_000_000
    with ask(upstream, provider, prompt) as answer:
        answer.response()

    (received,) = upstream.asked()
    assert received.json() == body(provider, prompt)
    assert received.turn is not None
    assert received.turn.prompt == prompt
    assert received.turn.system == "be brief"
    assert received.headers["x-api-key"] == "dummy"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, 529])
def test_fails_with_the_status_asked_for(upstream: ModelServer, provider: str, status: int) -> None:
    with ask(upstream, provider, f"x FAKE:{status}") as answer:
        response = answer.response()

    assert response.status == status
    assert response.json()["error"]["message"]
    assert response.headers["retry-after"] == ("1" if status == 429 else None)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_fails_only_so_often(upstream: ModelServer, provider: str) -> None:
    prompt = "x FAKE:500 FAKE:fails=2"
    statuses = []
    for _ in range(3):
        with ask(upstream, provider, prompt) as answer:
            statuses.append(answer.status)

    assert statuses == [500, 500, 200]
    assert upstream.attempts(prompt) == 3


@pytest.mark.parametrize(
    ("provider", "words"),
    [("anthropic", "prompt is too long"), ("openai", "context_length_exceeded"), ("gemini", "input token count")],
)
def test_tells_that_the_context_is_too_long(upstream: ModelServer, provider: str, words: str) -> None:
    with ask(upstream, provider, "x FAKE:toolong") as answer:
        assert words in answer.response().text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_knows_bad_keys_and_models(upstream: ModelServer, provider: str) -> None:
    with ask(upstream, provider, "x", key="bad-key") as answer:
        assert answer.status == 401
    with ask(upstream, provider, "x", model="no-such-model") as answer:
        assert answer.status == 404


@pytest.mark.parametrize("provider", PROVIDERS)
def test_thinks_and_calls_tools(upstream: ModelServer, provider: str) -> None:
    with ask(upstream, provider, 'x FAKE:think FAKE:tool FAKE:cmd="sleep 7"') as answer:
        raw = answer.response().text

    assert "think" in raw
    assert "sleep 7" in raw


@pytest.mark.parametrize("provider", PROVIDERS)
def test_answers_after_the_tool(upstream: ModelServer, provider: str) -> None:
    asked = body(provider, "x FAKE:tool")
    match provider:
        case "anthropic":
            asked["messages"].append({"role": "user", "content": [{"type": "tool_result", "content": "done"}]})
        case "openai":
            question = {"role": "user", "content": [{"type": "input_text", "text": "x FAKE:tool"}]}
            asked["input"] = [question, {"type": "function_call_output", "output": "done"}]
        case _:
            asked["contents"].append({"role": "user", "parts": [{"functionResponse": {"response": "done"}}]})
    with client(upstream).send("POST", PATHS[provider], asked) as answer:
        said = text(provider, events(answer))

    assert "tool_result='" in said
    assert "done" in said


@pytest.mark.parametrize("provider", PROVIDERS)
def test_drops_the_stream_half_way(upstream: ModelServer, provider: str) -> None:
    with ask(upstream, provider, "x FAKE:drop FAKE:n=10") as answer, pytest.raises(http.client.IncompleteRead) as cut:
        answer.response()

    assert b"w2" in cut.value.partial
    assert b"w8" not in cut.value.partial


def test_hangs_until_it_is_closed() -> None:
    with ModelServer() as upstream:
        answer = ask(upstream, "anthropic", "x FAKE:hang FAKE:n=4")
        lines = answer.lines()
        while b"w1" not in next(lines).data:
            pass
        answer.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            list(lines)
        answer.close()


def test_holds_the_answer_until_it_is_released(upstream: ModelServer) -> None:
    got: list[int] = []
    with ask(upstream, "openai", "x FAKE:hold") as answer:
        waiting = threading.Thread(target=lambda: got.append(answer.status))
        waiting.start()
        wait_until(upstream.asked, 5, "the request")
        assert not got
        upstream.release()
        waiting.join(5)

    assert got == [200]


def test_paces_its_deltas(upstream: ModelServer) -> None:
    with ask(upstream, "gemini", "x FAKE:n=5 FAKE:delay=0.05") as answer:
        pieces = list(answer.pieces())

    assert len(pieces) >= 5
    assert pieces[-1].at_s - pieces[0].at_s >= 0.2


def test_words_can_be_given_for_every_prompt(upstream: ModelServer) -> None:
    upstream.always = "FAKE:503"
    with ask(upstream, "openai", "x") as answer:
        assert answer.status == 503


def test_survives_clients_that_vanish(upstream: ModelServer) -> None:
    for _ in range(3):
        answer = ask(upstream, "anthropic", "x FAKE:n=1000 FAKE:delay=0.001")
        next(answer.pieces())
        answer.vanish(reset=True)

    with ask(upstream, "anthropic", "still there") as answer:
        assert answer.status == 200


def test_logs_requests_to_a_file(tmp_path: Any) -> None:
    log = tmp_path / "requests.jsonl"
    with ModelServer(log=log, bodies=True) as upstream, ask(upstream, "openai", "hello") as answer:
        answer.response()

    (entry,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert entry["prompt"] == "hello"
    assert json.loads(entry["body"]) == body("openai", "hello")


def test_listens_on_loopback_only(upstream: ModelServer) -> None:
    assert upstream.socket.getsockname()[0] == "127.0.0.1"
    assert upstream.socket.family == socket.AF_INET
