"""llm, opencode and qwen, described by the very lines of ``docs/backends.md``, as backends of a real server."""

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.e2e import clis
from tests.e2e.conversing import files_with
from tests.e2e.fake_upstream import ModelServer
from tests.support.documented import configurations, defined_in
from tests.support.documents import Block, each_block
from tests.support.server import Server, ServerFactory, merged
from tests.support.waiting import wait_until

NAMES = ("llm", "opencode", "qwen")
MODEL = {"llm": "fake-model", "opencode": "fake/fake-model", "qwen": "fake-model"}
SECRET = "the-secret-of-a-file"
NO_REGISTRY = "http://127.0.0.1:9/"
"""opencode would fetch a plugin from npm's registry, which a test must not reach."""

HOME_FILES: dict[str, Callable[[str], str]] = {
    ".config/io.datasette.llm/extra-openai-models.yaml": lambda url: yaml.safe_dump(
        [{"model_id": "fake-model", "model_name": "fake-model", "api_base": f"{url}/v1"}]
    ),
    ".config/opencode/opencode.json": lambda url: json.dumps(
        {
            "provider": {
                "fake": {
                    "npm": "@ai-sdk/openai-compatible",
                    "options": {"baseURL": f"{url}/v1", "apiKey": "{env:OPENCODE_API_KEY}"},
                    "models": {"fake-model": {}},
                }
            }
        }
    ),
}
"""What the users of these CLIs have in their home folders: which models there are."""


def start(servers: ServerFactory, model_server: ModelServer, key: str = "dummy") -> Server:
    documented = {name: section for name, section in configurations().items() if name in NAMES}
    models = {name: {"model": MODEL[name]} for name in NAMES}
    here = {
        "llm": {"executable": str(Path(sys.executable).with_name("llm"))},
        "opencode": {"environment": {"npm_config_registry": NO_REGISTRY}},
    }
    variables = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": f"{model_server.url}/v1", "OPENCODE_API_KEY": key}

    def prepare(folder: Path) -> None:
        for name, content in HOME_FILES.items():
            path = folder / "home" / name
            path.parent.mkdir(parents=True)
            path.write_text(content(model_server.url))

    return servers(
        {"backends": merged(merged(documented, models), here)},
        environment={**variables, "OPENCODE_DISABLE_MODELS_FETCH": "true"},
        path=lambda folder: clis.search_path(folder / "real-tools"),
        prepare=prepare,
    )


@pytest.fixture(scope="module")
def custom_server(real_clis: Path, module_model_server: ModelServer, servers: ServerFactory) -> Server:
    """A server with the three CLIs, shared by these tests."""
    return start(servers, module_model_server)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in, with a file inside and one outside that no prompt may read."""
    inside = tmp_path / "work"
    inside.mkdir()
    for place in (inside, tmp_path):
        (place / "secret.txt").write_text(SECRET)
    return inside


def received(model_server: ModelServer, name: str) -> str:
    """The prompt that the model was asked, without what qwen puts after it."""
    prompt = model_server.turns()[-1].prompt
    return prompt.removesuffix("\n\n") if name == "qwen" else prompt


@each_block()
def test_answers_and_keeps_nothing(custom_server: Server, model_server: ModelServer, block: Block) -> None:
    (name,) = defined_in(block)
    prompt = f"mark-of-{name}-in-the-prompt FAKE:n=5"
    answer = custom_server.client.prompt(prompt, name, ephemeral=True).json()

    assert answer["exit_code"] == 0, answer
    assert answer["output"].endswith("| w0 w1 w2 w3 w4 ")
    assert received(model_server, name) == prompt
    assert [turn.model for turn in model_server.turns()] == ["fake-model"]
    wait_until(lambda: not files_with(custom_server.home, prompt))


@pytest.mark.parametrize("prompt", ["/help me", "!touch pwned"])
@pytest.mark.parametrize("name", NAMES)
def test_text_is_only_text(
    custom_server: Server, model_server: ModelServer, folder: Path, name: str, prompt: str
) -> None:
    if name != "qwen":
        prompt += mentions(folder)
    answer = custom_server.client.prompt(prompt, name, workdir=str(folder)).json()

    assert answer["exit_code"] == 0, answer
    assert SECRET.encode() not in b"".join(one.body for one in model_server.requests())
    assert not (folder / "pwned").exists()
    newline = "\n" if name == "qwen" and prompt.startswith("/") else ""
    assert received(model_server, name) == newline + prompt


def test_what_qwen_would_read_is_refused(custom_server: Server, model_server: ModelServer, folder: Path) -> None:
    response = custom_server.client.prompt(f"look at{mentions(folder)}", "qwen", workdir=str(folder))

    assert response.status == 400
    assert response.json()["errors"][0]["location"] == "prompt"
    assert model_server.requests() == []


def mentions(folder: Path) -> str:
    """Files that a CLI might read when a text speaks of them, inside its folder and outside."""
    return f" @secret.txt a@secret.txt @../secret.txt @{folder.parent}/secret.txt"


@pytest.mark.parametrize("name", ["llm", "opencode"])
def test_a_prompt_of_a_megabyte_arrives_whole(custom_server: Server, model_server: ModelServer, name: str) -> None:
    prompt = "--help\n" + "".join(f"{number:07d} é\n" for number in range(100_000))
    answer = custom_server.client.prompt(prompt, name).json()

    assert answer["exit_code"] == 0, answer
    assert received(model_server, name) == prompt


@pytest.mark.parametrize("name", ["llm", "qwen"])
def test_a_system_prompt_is_text_too(custom_server: Server, model_server: ModelServer, folder: Path, name: str) -> None:
    system = f"-be brief, @secret.txt @{folder.parent}/secret.txt\n/help é"
    answer = custom_server.client.prompt("--help", name, system_prompt=system, workdir=str(folder)).json()

    assert answer["exit_code"] == 0, answer
    assert received(model_server, name) == "--help"
    assert model_server.turns()[-1].system.startswith(system)
    assert SECRET.encode() not in model_server.asked()[-1].body


def test_options_reach_the_model_server(custom_server: Server, model_server: ModelServer) -> None:
    answer = custom_server.client.prompt(
        "hello", "llm", max_tokens=7, append_system_prompt="be kind", max_turns=2
    ).json()

    (request,) = model_server.asked()
    assert request.json()["max_tokens"] == 7
    assert request.json()["messages"][0] == {"role": "system", "content": "be kind"}
    assert [warning.partition(":")[0] for warning in answer["warnings"]] == ["max_turns"]


@pytest.mark.parametrize("name", ["llm", "qwen"])
def test_text_comes_as_the_model_writes_it(custom_server: Server, model_server: ModelServer, name: str) -> None:
    with custom_server.client.stream("hello FAKE:n=20 FAKE:delay=0.05", name) as exchange:
        arrived = [line for line in exchange.lines() if json.loads(line.data)["type"] == "message"]

    apart = [later.at_s - earlier.at_s for earlier, later in pairwise(arrived)]
    assert sum(gap > 0.01 for gap in apart) >= 10
    assert arrived[-1].at_s - arrived[0].at_s >= 0.8


@pytest.mark.parametrize("name", ["opencode", "qwen"])
def test_thinking_usage_and_tools(custom_server: Server, model_server: ModelServer, folder: Path, name: str) -> None:
    asked = "FAKE:think FAKE:tool"
    with custom_server.client.stream(asked, name, workdir=str(folder), approval_mode="none") as exchange:
        events = list(exchange.events())

    kinds = {event["type"] for event in events}
    assert {"thinking", "message", "token_usage", "done"} <= kinds, events
    text = "".join(event["content"]["text"] for event in events if event["type"] == "message")
    assert "from-the-tool" in text
    usage = events[-1]["content"]["token_usage"]
    turns = model_server.turns()
    assert usage["cached_tokens"] == 2 * len(turns)
    assert usage["input_tokens"] == sum(max(turn.input_tokens, 2) for turn in turns)


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_key_is_told_in_time(custom_server: Server, model_server: ModelServer, name: str) -> None:
    answer = custom_server.client.prompt("hello FAKE:401", name).json()

    assert time.time() - model_server.asked()[0].at < 5
    assert answer["exit_code"] == 1
    assert answer["error_code"] == "backend_auth_failed"
    assert "401" in answer["error"]


@pytest.mark.parametrize("name", ["llm", "qwen"])
def test_an_unknown_model_is_told(custom_server: Server, model_server: ModelServer, name: str) -> None:
    answer = custom_server.client.prompt("hello", name, model="no-such-model").json()

    assert answer["exit_code"] == 1
    assert answer["error_code"] == "unknown_model"
