"""codex and the threads that it keeps: opened, resumed, copied and removed."""

from typing import Any

import orjson
import pytest

from services.backends.base import Phase
from services.backends.codex.requests import Request
from services.errors import ErrorCode
from services.events import Done, Failed, Init
from tests.services.backends.codex_recordings import BACKEND, ERRANDS, RecordedRun, lines, options


def result_of(run: RecordedRun, request: Request) -> Any:
    (answer,) = [message for message in run.told if message.get("id") == request]
    return answer["result"]


def test_a_kept_thread_is_opened_to_stay_and_whole_in_one_file() -> None:
    run = RecordedRun.load("kept")
    (params,) = [message["params"] for message in run.asked if message["method"] == "thread/start"]
    assert params["ephemeral"] is False
    assert params["historyMode"] == "legacy"
    assert result_of(run, Request.START_THREAD)["thread"]["historyMode"] == "legacy"


@pytest.mark.parametrize("name", ["resumed", "resumed-copy", "resumed-otherwise", "resumed-paginated"])
def test_the_id_of_a_session_is_the_one_to_resume_it_with(name: str) -> None:
    run = RecordedRun.load(name)
    (init,) = run.replay().of(Init)
    assert init.cli_session_id == run.options.resume


def test_a_resumed_thread_does_not_keep_the_modes_of_the_turn_before() -> None:
    """Without a mode in the request it is codex's own default again, as a fresh thread shows it."""
    before, run = RecordedRun.load("kept"), RecordedRun.load("resumed")
    assert result_of(before, Request.START_THREAD)["approvalPolicy"] == "never"
    assert result_of(before, Request.START_THREAD)["sandbox"]["type"] == "dangerFullAccess"
    resumed = result_of(run, Request.RESUME_THREAD)
    for part in ("approvalPolicy", "sandbox", "activePermissionProfile"):
        assert resumed[part] == result_of(run, Request.START_SAMPLE_THREAD)[part]
    assert resumed["approvalPolicy"] == "on-request"
    assert resumed["sandbox"]["type"] == "readOnly"


def test_a_resumed_thread_keeps_its_model() -> None:
    assert result_of(RecordedRun.load("resumed"), Request.RESUME_THREAD)["model"] == "first-model"
    assert result_of(RecordedRun.load("resumed-otherwise"), Request.RESUME_THREAD)["model"] == "other-model"


def resume_params(modes: dict[str, Any] | None = None, **chosen: Any) -> Any:
    """What codex is asked to resume a thread with, after it has told its own modes if it was asked for them."""
    conversation = BACKEND.conversation(options(workdir="/srv/demo", resume="t", keep_session=True, **chosen), "hello")
    conversation.receive(orjson.dumps({"id": Request.INITIALIZE, "result": {}}))
    (request,) = lines(conversation.data_to_send())
    if modes is not None:
        assert (request["method"], request["params"]) == ("thread/start", {"ephemeral": True})
        conversation.receive(orjson.dumps({"id": Request.START_SAMPLE_THREAD, "result": modes}))
        (request,) = lines(conversation.data_to_send())
    assert request["method"] == "thread/resume"
    params = request["params"]
    assert {params.pop("threadId"), params.pop("cwd")} == {"t", "/srv/demo"}
    assert params.pop("excludeTurns") is True
    return params


BOTH_MODES = {"approval_mode": "none", "sandbox_mode": "full"}
PROFILE = {
    "approvalPolicy": "untrusted",
    "sandbox": {"type": "workspaceWrite"},
    "activePermissionProfile": {"id": ":w"},
}


@pytest.mark.parametrize(
    ("modes", "chosen", "params"),
    [
        (None, BOTH_MODES, {"approvalPolicy": "never", "sandbox": "danger-full-access"}),
        (
            None,
            {**BOTH_MODES, "model": "m", "system_prompt": "s"},
            {"approvalPolicy": "never", "sandbox": "danger-full-access", "model": "m", "baseInstructions": "s"},
        ),
        (PROFILE, {}, {"approvalPolicy": "untrusted", "permissions": ":w"}),
        (PROFILE, {"approval_mode": "none"}, {"approvalPolicy": "never", "permissions": ":w"}),
        (PROFILE, {"extra": ("--sandbox=read-only",)}, {"approvalPolicy": "untrusted", "sandbox": "read-only"}),
        (
            {"approvalPolicy": "on-request", "sandbox": {"type": "workspaceWrite"}},
            {},
            {"approvalPolicy": "on-request", "sandbox": "workspace-write"},
        ),
        (
            {"approvalPolicy": "never", "sandbox": {"type": "x"}},
            {},
            {"approvalPolicy": "never", "sandbox": "read-only"},
        ),
    ],
)
def test_modes_and_instructions_of_a_resumed_thread(
    modes: dict[str, Any] | None, chosen: dict[str, Any], params: dict[str, Any]
) -> None:
    assert resume_params(modes, **chosen) == params


def test_instructions_to_append_are_put_into_a_resumed_thread_before_the_prompt() -> None:
    run = RecordedRun.load("resumed-otherwise")
    *_, added, turn = run.replay().sent
    assert [(item["role"], item["content"][0]["text"]) for item in added["params"]["items"]] == [
        ("developer", run.options.append_system_prompt),
        ("user", run.prompt),
    ]
    assert turn["params"]["input"] == []


@pytest.mark.parametrize("name", ["resumed", "resumed-copy", "resumed-paginated"])
def test_the_usage_of_a_resumed_thread_is_that_of_the_run(name: str) -> None:
    run = RecordedRun.load(name)
    turn_id = result_of(run, Request.START_TURN)["turn"]["id"]
    told = [message["params"] for message in run.told if message.get("method") == "thread/tokenUsage/updated"]
    ours = [params["tokenUsage"] for params in told if params["turnId"] == turn_id]
    outcome = run.replay().outcome
    assert isinstance(outcome, Done)
    assert outcome.usage.output_tokens == sum(tokens["last"]["outputTokens"] for tokens in ours)
    assert outcome.usage.output_tokens < ours[-1]["total"]["outputTokens"]
    assert outcome.turn_count == len(ours)
    assert (len(told) > len(ours)) == (name == "resumed-paginated"), "only there codex tells of the turns before"


def test_a_copy_is_a_thread_of_its_own() -> None:
    for name in ("fork", "fork-model"):
        run = RecordedRun.load(name, "errand")
        heard = run.replay()
        (init,) = heard.of(Init)
        thread = result_of(run, Request.FORK_THREAD)["thread"]
        assert init.cli_session_id == thread["id"] != run.options.resume == thread["forkedFromId"]
        assert thread["historyMode"] == "legacy"
        assert heard.outcome == Done(turn_count=0)


def test_a_copy_has_the_model_of_the_original_unless_another_is_named() -> None:
    original = RecordedRun.load("fork", "errand")
    model = result_of(original, Request.READ_THREAD)["thread"]["model"]
    assert [init.model for init in original.replay().of(Init)] == [model] == ["other-model"]
    assert [init.model for init in RecordedRun.load("fork-model", "errand").replay().of(Init)] == ["third-model"]


ERRAND_OUTCOMES = {
    "fork": None,
    "fork-lost": (ErrorCode.SESSION_EXPIRED, "no rollout found"),
    "fork-model": None,
    "fork-unknown": (ErrorCode.SESSION_EXPIRED, "thread not loaded"),
    "forget": None,
    "forget-lost": None,
    "forget-refused": (ErrorCode.BACKEND_FAILED, "forked history still references it"),
    "forget-unknown": None,
}


def test_every_recorded_errand_is_judged() -> None:
    assert sorted(ERRAND_OUTCOMES) == ERRANDS


@pytest.mark.parametrize("name", ERRANDS)
def test_errands(name: str) -> None:
    run = RecordedRun.load(name, "errand")
    heard = run.replay()
    assert heard.sent == run.asked
    expected = ERRAND_OUTCOMES[name]
    if expected is None:
        assert heard.outcome == Done(turn_count=0)
    else:
        assert isinstance(heard.outcome, Failed)
        assert heard.outcome.code is expected[0]
        assert expected[1] in heard.outcome.message
        assert heard.outcome.exit_code == 1


@pytest.mark.parametrize("name", ERRANDS)
def test_every_beginning_of_an_errand_has_an_outcome(name: str) -> None:
    run = RecordedRun.load(name, "errand")
    _, conversation = run.begin()
    for message in run.told:
        if conversation.phase is Phase.TALKING:
            assert isinstance(conversation.finish(0, ""), Failed)
        conversation.receive(orjson.dumps(message))
    assert conversation.phase is Phase.SETTLED
    outcome = conversation.finish(-11, "panicked")
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == -11
