"""The site of ``deploy/nginx.conf`` in a real nginx, between real clients and a real server with the fake CLIs."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.e2e.nginx import HOST, PROGRAM, Deployed, deployed
from tests.support.client import Client
from tests.support.documents import Block, each_block
from tests.support.guard import clean_environment, minimal_bin
from tests.support.later import Later
from tests.support.server import Server, ServerFactory
from tests.support.shell import printed
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import anthropic
    import openai
else:
    anthropic, openai = Later("anthropic"), Later("openai")

KEY = "a-key-of-some-length"
PROXY = {"trusted_proxies": ["127.0.0.1"]}
BACKENDS = ("claude", "codex", "gemini")
LARGEST_BYTES = 10 * 1024 * 1024
THINKING: dict[str, Any] = {"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024}}
OTHERS = ("127.0.0.5", "127.0.0.6")
"""Addresses of loopback that are no proxy's: clients come from there."""


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers(
        {"server": {**PROXY, "metrics_enabled": True, "read_timeout_secs": 1}},
        environment={"CLINVK_API_KEYS": KEY},
        headers={"X-Api-Key": KEY},
    )


@pytest.fixture(scope="module")
def site(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(server.port, tmp_path_factory.mktemp("nginx")) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def open_site(servers: ServerFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """In front of a server without keys that knows its public name, and limits the rate of each address."""
    limits = {"rate_limit_enabled": True, "rate_limit_rps": 0.01, "rate_limit_burst": 3}
    server = servers({"server": {**PROXY, **limits, "allowed_hosts": [HOST]}})
    with deployed(server.port, tmp_path_factory.mktemp("open")) as nginx:
        yield nginx


# ---------------------------------------------------------------------- curl


def curl(site: Deployed, path: str, *options: str, host: str = HOST, key: str = KEY) -> list[str]:
    """The command that asks by the public name, over HTTP/2."""
    command = ["/usr/bin/curl", "--silent", "--no-buffer", "--http2", "--cacert", str(site.ca), "--max-time", "60"]
    where = ["--resolve", f"{host}:{site.tls_port}:127.0.0.1", f"https://{host}:{site.tls_port}{path}"]
    return [*command, "--header", f"X-Api-Key: {key}", *options, *where]


def ask(site: Deployed, path: str, *options: str, host: str = HOST) -> tuple[int, dict[str, str], str]:
    """Status, headers (small letters) and body."""
    told = "\n%{http_version} %{http_code} %{header_json}"
    done = subprocess.run(
        curl(site, path, "--write-out", told, *options, host=host), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    body, _, told = done.stdout.partition("\n2 ") if "\n2 " in done.stdout else done.stdout.rpartition("\n1.1 ")
    status, _, headers = told.partition(" ")
    return int(status), {name: values[0] for name, values in json.loads(headers).items()}, body


def post(body: object) -> tuple[str, ...]:
    return ("--header", "Content-Type: application/json", "--data-binary", json.dumps(body))


def streamed(words: str) -> dict[str, str]:
    return {"backend": "claude", "prompt": words, "output_format": "stream-json"}


@contextmanager
def streaming(site: Deployed, words: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A streamed prompt, as curl prints it."""
    command = curl(site, "/api/v1/prompt", *post(streamed(words)), *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def waiting_for(gate: Path) -> str:
    """Words for a CLI that thinks, then waits for a file, then speaks."""
    return f'FAKE:think FAKE:tool FAKE:cmd="until [ -e {gate} ]; do sleep 0.02; done" FAKE:n=2'


# ---------------------------------------------------------------------- the official SDKs


@pytest.fixture(scope="module")
def trust(site: Deployed) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(site.ca))


@pytest.mark.parametrize("model", BACKENDS)
def test_openais_sdk(site: Deployed, trust: ssl.SSLContext, tmp_path: Path, model: str) -> None:
    """Plain, and a stream of which a piece is here before the CLI may write the next."""
    said: list[Any] = [{"role": "user", "content": waiting_for(gate := tmp_path / "gate")}]
    with (
        openai.DefaultHttpxClient(verify=trust) as http,
        openai.OpenAI(base_url=f"{site.address}/openai/v1", api_key=KEY, http_client=http) as client,
    ):
        text = ""
        for chunk in client.chat.completions.create(model=model, messages=said, stream=True):
            for choice in chunk.choices:
                gate.touch()
                text += choice.delta.content or ""
        assert text.endswith("| w0 w1 ")
        answer = client.chat.completions.create(model=model, messages=said)
        assert answer.choices[0].message.content == text


@pytest.mark.parametrize("model", BACKENDS)
def test_anthropics_sdk(site: Deployed, trust: ssl.SSLContext, tmp_path: Path, model: str) -> None:
    """Plain, and a stream of which a piece is here before the CLI may write the next."""
    said: list[Any] = [{"role": "user", "content": waiting_for(gate := tmp_path / "gate")}]
    with (
        anthropic.DefaultHttpxClient(verify=trust) as http,
        anthropic.Anthropic(base_url=f"{site.address}/anthropic", api_key=KEY, http_client=http) as client,
    ):
        text = ""
        for event in client.messages.create(model=model, messages=said, stream=True, **THINKING):
            if event.type == "content_block_delta":
                gate.touch()
                text += getattr(event.delta, "text", "")
        assert text.endswith("| w0 w1 ")
        answer = client.messages.create(model=model, messages=said, **THINKING)
        assert answer.content[-1].type == "text"
        assert answer.content[-1].text == text


# ---------------------------------------------------------------------- streams


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
def test_a_piece_arrives_before_the_cli_may_write_the_next(
    site: Deployed, tmp_path: Path, accept: str, version: str
) -> None:
    gate = tmp_path / "gate"
    with streaming(site, waiting_for(gate), "--header", f"Accept: {accept}", version) as process:
        lines = iter(output(process))
        assert any('"type":"thinking"' in line for line in lines)
        gate.touch()
        rest = "".join(lines)
        assert '"type":"done"' in rest
        assert '"w1 "' in rest
        assert process.wait(10) == 0


def test_a_stream_survives_that_nginx_is_reloaded(site: Deployed, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    before = set(site.workers)
    with streaming(site, waiting_for(gate)) as process:
        lines = iter(output(process))
        assert any('"type":"thinking"' in line for line in lines)
        site.process.send_signal(signal.SIGHUP)
        wait_until(lambda: set(site.workers) - before)
        assert ask(site, "/health")[0] == 200
        gate.touch()
        assert '"type":"done"' in "".join(lines)
        assert process.wait(10) == 0
    wait_until(lambda: not before & set(site.workers))


@each_block()
def test_it_is_judged_and_reloaded_as_the_page_says(site: Deployed, tmp_path: Path, block: Block) -> None:
    tools = minimal_bin(tmp_path / "bin")
    (tools / "nginx").write_text(f'#!/bin/sh\nexec {PROGRAM} -p {site.folder} -c {site.folder}/nginx.conf "$@"\n')
    (tools / "nginx").chmod(0o755)
    before = set(site.workers)
    printed(block.text, clean_environment(tmp_path, str(tools)), tmp_path)
    wait_until(lambda: (now := set(site.workers)) and not before & now)
    assert ask(site, "/health")[0] == 200


def test_a_client_that_leaves_ends_its_stream(server: Server, site: Deployed) -> None:
    with streaming(site, "FAKE:hang") as process:
        assert any('"type":"message"' in line for line in output(process))
        assert server.of_runs()
        process.kill()
        server.wait_until_idle()


def test_a_client_that_leaves_ends_a_run_that_is_not_streamed(server: Server, site: Deployed) -> None:
    body = post({"backend": "claude", "prompt": "FAKE:hang"})
    with subprocess.Popen(curl(site, "/api/v1/prompt", *body), stdout=subprocess.DEVNULL) as process:
        wait_until(server.of_runs)
        process.kill()
        server.wait_until_idle()


def test_a_client_that_reads_slowly_gets_the_whole_answer(site: Deployed) -> None:
    size = 6_000_000
    with streaming(site, f"FAKE:flood={size}", "--limit-rate", "4M") as process:
        events = [json.loads(line) for line in output(process)]
    assert events[-1]["type"] == "done"
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    text = "".join(event["content"]["text"] for event in events if event["type"] == "message")
    assert text.partition("| ")[2].removesuffix("w0 w1 w2 ") == "".join(
        f"{number:012d} ".ljust(999, "f") + " " for number in range(size // 1000)
    )


# ---------------------------------------------------------------------- bodies


def body_of(size: int, path: Path) -> Path:
    """A file with a prompt that is so many bytes of JSON."""
    empty = len(json.dumps({"backend": "claude", "prompt": ""}))
    path.write_text(json.dumps({"backend": "claude", "prompt": "x" * (size - empty)}))
    assert path.stat().st_size == size
    return path


def test_the_largest_body_passes(site: Deployed, tmp_path: Path) -> None:
    file = body_of(LARGEST_BYTES, tmp_path / "body")
    data = ("--header", "Content-Type: application/json", "--data-binary", f"@{file}")
    status, _, text = ask(site, "/api/v1/prompt", *data)
    assert status == 200
    assert (
        f"chars={LARGEST_BYTES - len(json.dumps({'backend': 'claude', 'prompt': ''}))} " in json.loads(text)["output"]
    )


@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
@pytest.mark.parametrize(
    "api",
    [
        ("/api/v1/prompt", "application/problem+json", ("error",)),
        ("/openai/v1/chat/completions", "application/json", ("error", "code")),
        ("/anthropic/v1/messages", "application/json", ("error", "type")),
    ],
)
def test_a_larger_one_is_refused_as_the_server_would(
    server: Server, site: Deployed, tmp_path: Path, version: str, api: tuple[str, str, tuple[str, ...]]
) -> None:
    """With the status, the content type and the members that the server's own answer has."""
    path, kind, where = api
    file = body_of(LARGEST_BYTES + 1, tmp_path / "body")
    data = (version, "--header", "Content-Type: application/json", "--data-binary", f"@{file}")
    status, headers, text = ask(site, path, *data)
    assert (status, headers["content-type"]) == (413, kind)
    declared = {"Content-Type": "application/json", "Content-Length": str(LARGEST_BYTES + 1)}
    ours = server.client.post(path, b"", headers=declared)
    assert (ours.status, ours.headers["Content-Type"].split(";")[0]) == (413, kind)
    told, own = json.loads(text), ours.json()
    assert told.keys() == own.keys()
    for name in where:
        told, own = told[name], own[name]
    assert told == own
    assert headers["x-request-id"]


def test_a_slow_upload_has_more_time_than_the_server_gives(server: Server, site: Deployed) -> None:
    """By the time that the server has given up on half a request that began later, nginx still waits for the rest."""
    body = json.dumps({"backend": "claude", "prompt": "hello"}).encode()
    head = (
        f"POST /api/v1/prompt HTTP/1.1\r\nHost: {HOST}\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    context = ssl.create_default_context(cafile=str(site.ca))
    with (
        Client(site.tls_port).raw(b"") as plain,
        context.wrap_socket(plain, server_hostname=HOST) as slow,
        server.client.raw(head + body[:10]) as direct,
    ):
        slow.sendall(head + body[:10])
        assert direct.recv(1 << 16).startswith(b"HTTP/1.1 408")
        slow.sendall(body[10:])
        assert slow.recv(1 << 16).startswith(b"HTTP/1.1 200")


# ---------------------------------------------------------------------- who asks, and by which name


def test_http2_is_spoken(site: Deployed) -> None:
    told = subprocess.check_output(curl(site, "/health", "--output", "/dev/null", "--write-out", "%{http_version}"))
    assert told == b"2"


def test_nothing_is_served_in_the_clear(site: Deployed) -> None:
    answer = Client(site.plain_port).get("/health")
    assert (answer.status, answer.text) == (403, "Use https.\n")


def test_metrics_are_for_this_machine(site: Deployed) -> None:
    assert ask(site, "/metrics")[0] == 200
    for path in ("/metrics", "//metrics", "/%6detrics", "/x/../metrics"):
        assert ask(site, path, "--path-as-is", "--interface", OTHERS[0])[0] == 403


def test_each_client_has_a_rate_of_its_own(open_site: Deployed) -> None:
    one, other = (("--interface", address) for address in OTHERS)
    seen = [ask(open_site, "/api/v1/backends", *one)[0] for _ in range(4)]
    assert seen == [200, 200, 200, 429]
    assert ask(open_site, "/api/v1/backends", *one, "--header", "X-Forwarded-For: 192.0.2.7")[0] == 429
    assert ask(open_site, "/api/v1/backends", *other)[0] == 200


def test_the_public_name_is_known_and_no_other(open_site: Deployed) -> None:
    where = ("--interface", "127.0.0.7")
    assert ask(open_site, "/api/v1/backends", *where)[0] == 200
    assert ask(open_site, "/api/v1/backends", *where, "--insecure", host="rebound.example.net")[0] == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://{host}:{port}", 200), ("http://{host}:{port}", 403), ("https://{host}", 403), ("https://a.test", 403)],
)
def test_the_origin_is_held_against_the_public_address(site: Deployed, origin: str, status: int) -> None:
    header = f"Origin: {origin.format(host=HOST, port=site.tls_port)}"
    assert ask(site, "/api/v1/backends", "--header", header)[0] == status


def test_a_browsers_preflight_passes(site: Deployed) -> None:
    asks = ("Origin: http://localhost:3000", "Access-Control-Request-Method: POST")
    options = [word for header in asks for word in ("--header", header)]
    status, headers, _ = ask(site, "/api/v1/prompt", "--request", "OPTIONS", *options)
    assert (status, headers["access-control-allow-origin"]) == (200, "http://localhost:3000")
