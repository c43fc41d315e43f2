"""What holds for each of the real CLIs behind a real server, and can be told of all in the same words."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.conftest import start_real_server
from tests.e2e.conversing import CLAUDE, CODEX, GEMINI, Cli, deleted, forked, session_of
from tests.e2e.fake_upstream import ModelServer
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until


def by_name(value: object) -> str | None:
    """A CLI's name in the id of a test; pytest names the rest."""
    return value.backend if isinstance(value, Cli) else None


every_cli = pytest.mark.parametrize("cli", [CLAUDE, CODEX, GEMINI], ids=by_name)


# ---------------------------------------------------------------------- a prompt and its answer


@every_cli
def test_a_big_prompt_arrives_byte_for_byte(cli: Cli, real_server: Server, model_server: ModelServer) -> None:
    prompt = "".join(f"{number:07d} ä\n" for number in range(100_000))
    assert len(prompt.encode()) > 1_000_000
    cli.ask(real_server, prompt)
    (received,) = model_server.asked()
    assert cli.prompts(received) == [prompt]


@every_cli
def test_text_comes_token_by_token(cli: Cli, real_server: Server) -> None:
    with cli.stream(real_server, "hello FAKE:n=20 FAKE:delay=0.05") as exchange:
        arrivals = [line.at_s for line in exchange.lines() if b'"type":"message"' in line.data.replace(b" ", b"")]
    assert len({round(at_s, 2) for at_s in arrivals}) >= 10
    assert arrivals[-1] - arrivals[0] >= 0.8


@pytest.mark.parametrize(
    ("cli", "model"), [(CLAUDE, "claude-haiku-4-5"), (CODEX, "gpt-other"), (GEMINI, "gemini-2.5-pro")], ids=by_name
)
def test_the_model_is_asked(cli: Cli, model: str, real_server: Server, model_server: ModelServer) -> None:
    answer = cli.ask(real_server, "hello", model=model)
    assert [turn.model for turn in model_server.turns()] == [model]
    assert answer["model"] == model


# ---------------------------------------------------------------------- failures


def failed(cli: Cli, words: str, server: Server, model_server: ModelServer) -> tuple[str, float]:
    """The code of the failure that these words make, and the seconds from the model's being asked until it is told.

    Those that the CLI took to start are not the failure's.
    """
    answer = cli.ask(server, f"hello {words}")
    told_at = time.time()
    assert answer["exit_code"] == 1, answer
    assert answer["error"]
    asked_at = next(one.at for one in model_server.asked() if one.turn is not None and words in one.turn.prompt)
    return answer["error_code"], told_at - asked_at


@pytest.mark.parametrize(
    ("cli", "words", "code", "limit_s"),
    [
        (CLAUDE, "FAKE:401", "backend_auth_failed", 5),
        (CLAUDE, "FAKE:403", "backend_auth_failed", 5),
        (CLAUDE, "FAKE:404", "unknown_model", 60),
        (CLAUDE, "FAKE:toolong", "context_too_long", 60),
        (CODEX, "FAKE:401", "backend_auth_failed", 5),
        (CODEX, "FAKE:403", "backend_auth_failed", 5),
        (CODEX, "FAKE:404", "unknown_model", 5),
        (CODEX, "FAKE:toolong", "context_too_long", 5),
        (CODEX, "FAKE:drop", "backend_failed", 60),
        (GEMINI, "FAKE:401", "backend_auth_failed", 3),
        (GEMINI, "FAKE:403", "backend_auth_failed", 3),
        (GEMINI, "FAKE:404", "unknown_model", 3),
        (GEMINI, "FAKE:toolong", "context_too_long", 3),
        (GEMINI, "FAKE:drop FAKE:n=6", "backend_failed", 3),
    ],
    ids=by_name,
)
def test_the_providers_failures_are_told_in_time(  # noqa: PLR0917 - what it needs
    cli: Cli, words: str, code: str, limit_s: float, real_server: Server, model_server: ModelServer
) -> None:
    told, took_s = failed(cli, words, real_server, model_server)
    assert told == code
    assert took_s < limit_s


LATER = {"FAKE:429": "rate_limited", "FAKE:500": "backend_failed", "FAKE:503": "overloaded"}


@pytest.mark.parametrize(
    ("cli", "codes", "limit_s"),
    [
        (CLAUDE, LATER | {"FAKE:529": "overloaded"}, 60),
        (CODEX, LATER | {"FAKE:529": "overloaded"}, 60),
        (GEMINI, LATER, 50),
    ],
    ids=by_name,
)
def test_failures_that_might_pass_are_told_in_time_too(
    cli: Cli, codes: dict[str, str], limit_s: float, real_server: Server, model_server: ModelServer
) -> None:
    """All at once: the CLIs try again after some seconds, and again."""
    with ThreadPoolExecutor(len(codes)) as pool:
        told = dict(
            zip(codes, pool.map(lambda words: failed(cli, words, real_server, model_server), codes), strict=True)
        )
    assert {words: code for words, (code, _) in told.items()} == codes
    assert all(took_s < limit_s for _, took_s in told.values()), told


@pytest.mark.parametrize(
    ("cli", "named"), [(CLAUDE, "'no-such-model'"), (CODEX, "no-such-model"), (GEMINI, "'no-such-model'")], ids=by_name
)
def test_an_unknown_model(cli: Cli, named: str, real_server: Server) -> None:
    answer = cli.ask(real_server, "hello", model="no-such-model")
    assert answer["error_code"] == "unknown_model"
    assert named in answer["error"]


@pytest.mark.parametrize(
    ("cli", "failure"), [(CLAUDE, "FAKE:529"), (CODEX, "FAKE:429"), (GEMINI, "FAKE:503")], ids=by_name
)
def test_a_failure_that_passes_is_not_seen(
    cli: Cli, failure: str, real_server: Server, model_server: ModelServer
) -> None:
    answer = cli.ask(real_server, f"hello {failure} FAKE:fails=2")
    assert answer["exit_code"] == 0, answer
    assert len(model_server.asked()) == 3


# ---------------------------------------------------------------------- sessions


def test_the_turns_before_are_there_after_a_restart(
    module_model_server: ModelServer, model_server: ModelServer, real_clis: Path, servers: ServerFactory
) -> None:
    server = start_real_server(servers, module_model_server)
    begun = [(cli, cli.begun(server, "one")) for cli in (CLAUDE, CODEX, GEMINI)]
    server.stop()
    with ServerFactory(lambda _: server.folder) as again:
        restarted = start_real_server(again, module_model_server)
        for cli, session_id in begun:
            cli.continued(restarted, session_id, "two")
            assert cli.prompts_seen(model_server) == ["one", "two"]


@every_cli
def test_a_session_that_is_given_up_in_its_first_turn_goes_on(
    cli: Cli, real_server: Server, model_server: ModelServer
) -> None:
    with cli.stream(real_server, "one FAKE:n=60 FAKE:delay=0.1") as exchange:
        session_id = next(event["session_id"] for event in exchange.events() if event["type"] == "message")
        exchange.vanish()
    wait_until(lambda: session_of(real_server, session_id)["status"] == "error", 30.0)
    cli.continued(real_server, session_id, "two")
    said = cli.prompts_seen(model_server)
    assert (said[0].rstrip(), said[-1]) == ("one FAKE:n=60 FAKE:delay=0.1", "two")


@pytest.mark.parametrize(
    ("cli", "model", "other"),
    [
        (CLAUDE, "claude-sonnet-4-5", "claude-opus-4-5"),
        (CODEX, "gpt-one", "gpt-two"),
        (GEMINI, "gemini-2.5-pro", "gemini-2.5-flash"),
    ],
    ids=by_name,
)
def test_a_session_keeps_its_model_until_another_is_named(
    cli: Cli, model: str, other: str, real_server: Server, model_server: ModelServer
) -> None:
    session_id = cli.begun(real_server, "one", model=model)
    for chosen in ({}, {"model": other}, {}):
        cli.continued(real_server, session_id, "more", **chosen)
    assert [turn.model for turn in model_server.turns()] == [model, model, other, other]


@every_cli
def test_a_copy_outlives_its_original(cli: Cli, real_server: Server, model_server: ModelServer) -> None:
    original = cli.begun(real_server, "one")
    copy = forked(real_server, original)
    assert deleted(real_server, original) is True
    cli.continued(real_server, copy, "two")
    assert cli.prompts_seen(model_server) == ["one", "two"]
