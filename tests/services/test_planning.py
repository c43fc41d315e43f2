"""Request, backend settings and defaults become one set of options."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.errors import ClinvkError, ErrorCode
from services.planning import Planner
from services.prompts import Prompt
from services.settings import BackendSettings, ServerSettings, UnifiedFlags
from tests.support.scripts import ScriptBackend

PROMPT = Prompt("script", "hello", location="tasks[2]")


def planner(
    settings: BackendSettings | None = None,
    unified: UnifiedFlags | None = None,
    server: ServerSettings | None = None,
    honours: frozenset[str] = frozenset(),
) -> Planner:
    backend = ScriptBackend()
    backend.honours = honours
    backend.max_prompt_bytes = 100
    return Planner(
        {"script": backend},
        {"script": settings or BackendSettings()},
        unified or UnifiedFlags(),
        server or ServerSettings(),
    )


def refused(prompt: Prompt, **parts: ServerSettings) -> ClinvkError:
    with pytest.raises(ClinvkError) as caught:
        planner(**parts).plan(prompt)  # type: ignore[arg-type]
    return caught.value


def test_the_request_wins_over_the_backend_and_the_backend_over_the_defaults() -> None:
    unified = UnifiedFlags(approval_mode="auto", sandbox_mode="workspace", max_turns=3, max_tokens=5)
    settings = BackendSettings(
        model="configured", approval_mode="none", system_prompt="be kind", extra_flags=("--loud",)
    )
    options = planner(settings, unified).plan(PROMPT).options
    assert (options.model, options.approval_mode, options.sandbox_mode) == ("configured", "none", "workspace")
    assert (options.max_turns, options.max_tokens, options.system_prompt) == (3, 5, "be kind")
    asked = replace(
        PROMPT, model="asked", approval_mode="always", sandbox_mode="full", max_turns=1, max_tokens=2,
        system_prompt="be brief", extra=("--name", "n"), verbose=True,
    )  # fmt: skip
    options = planner(settings, unified).plan(asked).options
    assert (options.model, options.approval_mode, options.sandbox_mode) == ("asked", "always", "full")
    assert (options.max_turns, options.max_tokens, options.system_prompt) == (1, 2, "be brief")
    assert (options.extra, options.verbose) == (("--loud", "--name", "n"), True)


def test_the_shorter_timeout_counts_and_zero_is_none() -> None:
    assert planner(unified=UnifiedFlags(command_timeout_secs=5)).plan(PROMPT).timeout_s == 5
    assert planner(server=ServerSettings(request_timeout_secs=7)).plan(PROMPT).timeout_s == 7


def test_every_refusal_names_its_field() -> None:
    assert refused(replace(PROMPT, backend="nosuch")).problems[0].location == "tasks[2].backend"
    assert refused(replace(PROMPT, backend="nosuch")).code is ErrorCode.UNKNOWN_BACKEND
    assert refused(replace(PROMPT, text=" \n")).problems[0].location == "tasks[2].prompt"
    assert refused(replace(PROMPT, text="x" * 101)).problems[0].message.startswith("has 101 bytes")
    assert refused(replace(PROMPT, extra=("--nosuch",))).problems[0].location == "tasks[2].extra[0]"
    assert refused(replace(PROMPT, workdir="/")).problems[0].location == "tasks[2].workdir"
    assert refused(replace(PROMPT, location="", workdir="/")).problems[0].location == "workdir"


@pytest.mark.parametrize("model", ["-x", "--version", "-"])
def test_a_model_is_never_a_flag(model: str) -> None:
    assert refused(replace(PROMPT, model=model)).problems[0].location == "tasks[2].model"


def test_modes_are_capped_wherever_they_come_from() -> None:
    server = ServerSettings(allowed_approval_modes=("default",), allowed_sandbox_modes=("default", "read-only"))
    error = refused(replace(PROMPT, approval_mode="none"), server=server)
    assert (error.code, error.status, error.problems[0].location) == (
        ErrorCode.NOT_PERMITTED, 403, "tasks[2].approval_mode",
    )  # fmt: skip
    assert refused(replace(PROMPT, sandbox_mode="full"), server=server).problems[0].location == "tasks[2].sandbox_mode"


@pytest.mark.parametrize("spelling", [("--mode", "yolo"), ("--mode=yolo",), ("--mode=unheard-of",), ("--mode=",)])
def test_a_flag_that_chooses_a_mode_obeys_the_caps(spelling: tuple[str, ...]) -> None:
    server = ServerSettings(allowed_approval_modes=("default", "always"))
    assert refused(replace(PROMPT, extra=spelling), server=server).code is ErrorCode.NOT_PERMITTED
    assert planner(server=server).plan(replace(PROMPT, extra=("--mode", "ask")))
    assert planner().plan(replace(PROMPT, extra=spelling))


def test_equal_prompts_make_equal_spawns(tmp_path: Path) -> None:
    one, two = planner().plan(PROMPT), planner().plan(replace(PROMPT, text="another"))
    assert one.spawn == two.spawn
    assert planner().plan(replace(PROMPT, workdir=str(tmp_path))).spawn != one.spawn


def test_an_answer_is_limited_only_where_its_end_is_told() -> None:
    """Natively the limit is the client's own affair; a chat API says how an answer has ended."""
    unified = UnifiedFlags(max_tokens=5)
    chat = replace(PROMPT, chat=True, max_tokens=7)
    assert planner(unified=unified).plan(replace(PROMPT, max_tokens=7)).options.max_tokens == 7
    for prompt in (chat, replace(chat, max_tokens=0)):
        assert planner(unified=unified).plan(prompt).options.max_tokens == 0
    assert planner().plan(chat).ignored == ("max_tokens",)
    honest = planner(unified=unified, honours=frozenset({"max_tokens"})).plan(chat)
    assert (honest.options.max_tokens, honest.ignored) == (7, ())
