"""Custom backends and the demo in front of a real server: the prompt by every way, the answer by both."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fake_cli.install import FakeClis
from tests.support import guard
from tests.support.documented import configurations, defined_in
from tests.support.documents import Block, each_block
from tests.support.server import Server, ServerFactory

LINES: dict[str, Any] = {
    "output": "jsonl",
    "text_path": "part.text",
    "text_when": {"type": "text"},
    "final_when": {"type": "end"},
    "error_when": {"type": "failure"},
    "error_path": "error.message",
    "session_path": "session.id",
    "usage_paths": {
        "input_tokens": ["usage.input"], "output_tokens": ["usage.output"], "cached_tokens": ["usage.cached"],
    },
}  # fmt: skip
MODEL = {"option_args": {"model": ["--model", "{value}"], "system_prompt": ["--system={value}"]}}
BACKENDS: dict[str, Any] = {
    "by-stdin": {"command": ["plain"], **MODEL},
    "by-file": {"command": ["plain", "--file", "{prompt_file}"], "prompt_by": "file"},
    "by-argument": {"command": ["plain", "--prompt", "{prompt}"], "prompt_by": "argument"},
    "lines": {"command": ["plain", "--jsonl"], **LINES, **MODEL},
    "slow-letters": {"command": ["sh", "-c", r"for o in '\303' '\251' '\n' '\360\237' '\230\200'; do printf $o; done"]},
    "demo": {"enabled": True},
}


@pytest.fixture(scope="module")
def custom_server(servers: ServerFactory, tmp_path_factory: pytest.TempPathFactory) -> Server:
    clis = FakeClis(tmp_path_factory.mktemp("plain"))
    clis.install("plain")
    upper = {"upper": configurations()["upper"]}

    def prepare(folder: Path) -> None:
        guard.minimal_bin(folder / "tools", ["tr"])

    return servers({"backends": BACKENDS | upper}, clis=clis, prepare=prepare)


@each_block()
def test_the_simplest_description_answers(custom_server: Server, block: Block) -> None:
    (name,) = defined_in(block)
    assert custom_server.client.prompt("hello", name).json()["output"] == "HELLO"


@pytest.mark.parametrize("backend", ["by-stdin", "by-file", "by-argument", "lines"])
@pytest.mark.parametrize("prompt", ["hello", "äö\r\n\n", "{prompt} {prompt_file} $HOME `id` %s \\n", "é" * 60_000])
def test_the_prompt_arrives_byte_for_byte(custom_server: Server, backend: str, prompt: str) -> None:
    answer = custom_server.client.prompt(prompt, backend).json()

    assert answer["exit_code"] == 0, answer
    assert f"sha256={hashlib.sha256(prompt.encode()).hexdigest()} " in answer["output"]


def test_an_argument_is_refused_that_is_a_flag_or_too_long(custom_server: Server) -> None:
    before = len(custom_server.clis.starts())
    for prompt in ("--help", "é" * 70_000):
        response = custom_server.client.prompt(prompt, "by-argument")
        assert response.status == 400
        assert response.json()["errors"][0]["location"] == "prompt"
    assert custom_server.client.prompt("--help", "by-file").json()["exit_code"] == 0
    assert len(custom_server.clis.starts()) == before + 1


def test_a_system_prompt_too_long_for_an_argument_is_the_clients_fault(custom_server: Server) -> None:
    response = custom_server.client.prompt("hello", "by-stdin", system_prompt="é" * 70_000)
    assert response.status == 400
    assert "too long" in response.json()["detail"]


def test_a_model_is_never_a_flag(custom_server: Server) -> None:
    response = custom_server.client.prompt("hello", "by-stdin", model="--version")
    assert response.status == 400
    assert response.json()["errors"][0]["location"] == "model"
    assert " model=m " in custom_server.client.prompt("hello", "by-stdin", model="m").json()["output"]


def test_a_dry_run_shows_where_the_prompt_goes(custom_server: Server) -> None:
    shown = {
        backend: custom_server.client.prompt("secret", backend, dry_run=True).json()["output"]
        for backend in ("by-stdin", "by-file", "by-argument")
    }
    assert shown["by-stdin"] == "plain <stdin>"
    assert "prompt.txt" in shown["by-file"]
    assert shown["by-argument"] == "plain --prompt <prompt>"
    assert "secret" not in str(shown)


def test_json_lines_become_events(custom_server: Server) -> None:
    with custom_server.client.stream("hello FAKE:n=3", "lines") as exchange:
        events = list(exchange.events())
    assert [event["type"] for event in events][-2:] == ["token_usage", "done"]
    assert events[-1]["content"]["token_usage"] == {
        "input_tokens": 5, "output_tokens": 9, "cached_tokens": 2, "reasoning_tokens": 0,
    }  # fmt: skip
    assert sum(event["type"] == "message" for event in events) > 3


def test_characters_cut_in_two_are_whole_and_newlines_at_the_end_are_gone(custom_server: Server) -> None:
    with custom_server.client.stream("hello", "slow-letters") as exchange:
        events = list(exchange.events())
    assert "".join(event["content"]["text"] for event in events if event["type"] == "message") == "é\n😀"


@pytest.mark.parametrize(
    ("backend", "word", "code"),
    [
        ("by-stdin", "FAKE:401", "backend_auth_failed"),
        ("lines", "FAKE:500", "backend_failed"),
        ("by-stdin", "FAKE:silent", "backend_failed"),
        ("lines", "FAKE:silent", "backend_failed"),
        ("lines", "FAKE:garbage", "backend_failed"),
    ],
)
def test_a_failure_is_told(custom_server: Server, backend: str, word: str, code: str) -> None:
    answer = custom_server.client.prompt(f"hello {word}", backend).json()
    assert answer["exit_code"] == 1
    assert answer["error_code"] == code
    custom_server.wait_until_idle()


def test_the_demo_answers(custom_server: Server) -> None:
    answer = custom_server.client.prompt("hello there", "demo", max_tokens=500, model="gpt").json()
    assert "not an AI" in answer["output"]
    assert answer["model"] == "gpt"
    assert answer["token_usage"]["output_tokens"] == len(answer["output"].split())


def test_the_demo_streams(custom_server: Server) -> None:
    with custom_server.client.stream("hello", "demo") as exchange:
        lines = [line for line in exchange.lines() if json.loads(line.data)["type"] == "message"]
    assert len(lines) > 20
    assert lines[-1].at_s - lines[0].at_s > 0.3


def test_what_is_wrong_stops_the_start(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server({"backends": {"mine": {"command": ["tool", "{prompt}"]}}}, wait=False)
    assert server.process.wait(30) != 0
    assert "backends.mine.prompt_by" in server.log
