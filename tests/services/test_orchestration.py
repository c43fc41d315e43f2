"""Parallel, chain and compare over runs without processes."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.deadline import Deadline
from services.ensemble import Caller, Ensemble, Entry
from services.errors import ClinvkError, ErrorCode
from services.events import Done, Event, Failed, Message
from services.orchestration import Chain, Compare, Orchestrator, Parallel, Step
from services.prompts import Prompt
from services.settings import ParallelSettings, ServerSettings
from tests.support.fake_runs import Batch, FakeRun, FakeRuns, Script, saying

PATIENCE_S = 20.0
LIMITS = ServerSettings(heartbeat_secs=0.05, headers_after_secs=0.05)
BROKE = Failed(ErrorCode.BACKEND_FAILED, "it broke", 3)


def orchestrator(runs: FakeRuns, parallel: ParallelSettings | None = None) -> Orchestrator:
    return Orchestrator(runs, parallel or ParallelSettings(), LIMITS)


def prompts(*backends: str) -> list[Prompt]:
    return [Prompt(backend, f"prompt {i}", location=f"tasks[{i}]") for i, backend in enumerate(backends)]


def finished(ensemble: Ensemble) -> list[Entry]:
    ensemble.finish()
    return ensemble.entries


def codes(entries: list[Entry]) -> list[str]:
    return [entry.result.outcome.code.value if isinstance(entry.result.outcome, Failed) else "ok" for entry in entries]


class Gate:
    """Holds runs until it is opened, and counts how many it holds."""

    def __init__(self) -> None:
        self.holding = 0
        self.most = 0
        self.order: list[str] = []
        self._changed = threading.Condition()
        self._open = 0

    def hold(self, run: FakeRun) -> Batch:
        """The script item that waits here; a cancellation ends the wait."""
        with self._changed:
            self.order.append(run.plan.prompt.text)
            self.holding += 1
            self.most = max(self.most, self.holding)
            self._changed.notify_all()
        while not run.canceled.is_set():
            with self._changed:
                if self._changed.wait_for(lambda: self._open > 0, timeout=0.02):
                    self._open -= 1
                    break
        with self._changed:
            self.holding -= 1
            self._changed.notify_all()
        return [Message("held")]

    def wait_for(self, holding: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.holding == holding, PATIENCE_S)

    def let_through(self, count: int) -> None:
        with self._changed:
            self._open += count
            self._changed.notify_all()


def in_thread(ensemble: Ensemble) -> threading.Thread:
    thread = threading.Thread(target=ensemble.finish)
    thread.start()
    return thread


def test_parallel_answers_in_the_order_of_the_tasks() -> None:
    first_may_end = threading.Event()

    def slow(_: FakeRun) -> Batch:
        assert first_may_end.wait(PATIENCE_S)
        return [Message("slow")]

    def fast(_: FakeRun) -> Batch:
        first_may_end.set()
        return [Message("fast")]

    runs = FakeRuns({"claude": [slow, [Done()]], "codex": [fast, [Done()]]})
    entries = finished(orchestrator(runs).parallel(Parallel(prompts("claude", "codex")), Caller()))
    assert [(entry.task.index, entry.run.backend, entry.result.output) for entry in entries] == [
        (0, "claude", "slow"),
        (1, "codex", "fast"),
    ]


@pytest.mark.parametrize(("asked", "configured", "expected"), [(2, 3, 2), (0, 3, 3), (1, 3, 1), (50, 3, 6)])
def test_parallel_runs_no_more_than_max_parallel_at_once_and_starts_in_order(
    asked: int, configured: int, expected: int
) -> None:
    gate = Gate()
    runs = FakeRuns({"claude": [gate.hold, [Done()]]})
    parallel = orchestrator(runs, ParallelSettings(max_workers=configured))
    ensemble = parallel.parallel(Parallel(prompts(*["claude"] * 6), max_parallel=asked), Caller())
    thread = in_thread(ensemble)
    gate.wait_for(expected)
    gate.let_through(6)
    thread.join(PATIENCE_S)
    assert gate.most == expected
    assert [run.plan.prompt.text for run in runs.started] == [f"prompt {i}" for i in range(6)]
    assert codes(ensemble.entries) == ["ok"] * 6


@pytest.mark.parametrize("by_configuration", [True, False])
def test_fail_fast_ends_what_runs_and_what_waits(by_configuration: bool) -> None:
    gate = Gate()

    def fail(_: FakeRun) -> Batch:
        gate.wait_for(1)
        return [BROKE]

    runs = FakeRuns({"claude": [gate.hold, [Done()]], "codex": [fail]})
    settings = ParallelSettings(fail_fast=by_configuration)
    request = Parallel(prompts("claude", "codex", "claude"), 2, fail_fast=None if by_configuration else True)
    entries = finished(orchestrator(runs, settings).parallel(request, Caller()))
    assert codes(entries) == ["canceled", "backend_failed", "canceled"]
    for entry in (entries[0], entries[2]):
        assert entry.result.outcome.exit_code == -1
        assert isinstance(entry.result.outcome, Failed)
        assert entry.result.outcome.message == "canceled"
    assert len(runs.started) == 2


def test_without_fail_fast_the_others_go_on() -> None:
    runs = FakeRuns({"claude": saying("a"), "codex": [[BROKE]]})
    settings = ParallelSettings(fail_fast=True)
    request = Parallel(prompts("codex", "claude"), 1, fail_fast=False)
    assert codes(finished(orchestrator(runs, settings).parallel(request, Caller()))) == ["backend_failed", "ok"]


def test_fail_fast_reaches_a_run_that_waits_for_its_slot() -> None:
    announced, canceled = threading.Event(), threading.Event()

    class QueueingRuns(FakeRuns):
        def start(self, plan, **options):  # type: ignore[no-untyped-def]
            if plan.backend.name != "gemini":
                return super().start(plan, **options)
            waiting = FakeRun("waiting", plan, [])
            options["announce"](waiting)
            announced.set()
            assert waiting.canceled.wait(PATIENCE_S)
            canceled.set()
            raise ClinvkError(ErrorCode.CANCELED, waiting.cancel_message)

    def fail(_: FakeRun) -> Batch:
        assert announced.wait(PATIENCE_S)
        return [BROKE]

    runs = QueueingRuns({"claude": [fail]})
    request = Parallel(prompts("claude", "gemini"), 2, fail_fast=True)
    entries = finished(orchestrator(runs).parallel(request, Caller()))
    assert canceled.is_set()
    assert codes(entries) == ["backend_failed", "canceled"]


def test_what_cannot_be_started_fails_its_own_entry() -> None:
    missing = ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, "codex is not installed: install it")
    runs = FakeRuns({"claude": saying("a"), "codex": missing})
    entries = finished(orchestrator(runs).parallel(Parallel(prompts("codex", "claude")), Caller()))
    assert codes(entries) == ["backend_unavailable", "ok"]
    assert entries[0].result.outcome.exit_code == 1
    assert entries[0].run.run_id == ""


def test_a_fault_of_ours_fails_its_own_entry() -> None:
    def burst(_: FakeRun) -> Batch:
        raise ZeroDivisionError

    runs = FakeRuns({"claude": saying("a"), "codex": [burst]})
    entries = finished(orchestrator(runs).parallel(Parallel(prompts("codex", "claude")), Caller()))
    assert codes(entries) == ["internal", "ok"]


def test_nothing_runs_when_one_task_is_wrong() -> None:
    runs = FakeRuns({"claude": saying("a")})
    with pytest.raises(ClinvkError) as caught:
        orchestrator(runs).parallel(Parallel(prompts("claude", "nobody")), Caller())
    assert caught.value.code is ErrorCode.UNKNOWN_BACKEND
    assert caught.value.problems[0].location == "tasks[1].backend"
    assert runs.started == []


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_client_that_leaves_ends_running_and_waiting_tasks(client: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = client
    gate = Gate()
    runs = FakeRuns({"claude": [gate.hold, [Done()]]})
    request = Parallel(prompts(*["claude"] * 4), 2)
    ensemble = orchestrator(runs).parallel(request, Caller(ours.fileno()))
    thread = in_thread(ensemble)
    gate.wait_for(2)
    theirs.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert codes(ensemble.entries) == ["canceled"] * 4
    assert len(runs.started) == 2
    assert all(run.closed.is_set() for run in runs.started)


def test_a_stream_that_is_closed_ends_its_runs() -> None:
    gate = Gate()
    runs = FakeRuns({"claude": [[Message("a")], gate.hold, [Done()]]})
    ensemble = orchestrator(runs).parallel(Parallel(prompts(*["claude"] * 3), 2), Caller())
    parts = ensemble.parts()
    assert next(parts) is not None
    parts.close()  # type: ignore[attr-defined]
    assert all(run.closed.is_set() for run in runs.started)
    assert len(runs.started) <= 2


def test_a_silence_is_filled_with_heartbeats() -> None:
    gate = Gate()
    runs = FakeRuns({"claude": [gate.hold, [Done()]]})
    parts = orchestrator(runs).parallel(Parallel(prompts("claude")), Caller()).parts()
    assert next(parts) is None
    assert next(parts) is None
    gate.let_through(1)
    assert [part.events for part in parts if part is not None] == [[Message("held")], [Done()]]


def test_a_slow_taker_slows_the_runs_and_loses_nothing() -> None:
    given = 0

    def give(_: FakeRun) -> Batch:
        nonlocal given
        given += 1
        return [Message("x")]

    count = 1000
    runs = FakeRuns({"claude": [*[give] * count, [Done()]]})
    ensemble = orchestrator(runs).parallel(Parallel(prompts("claude")), Caller())
    parts = ensemble.parts()
    next(parts)
    assert given < count
    events: list[Event] = [event for part in parts if part is not None for event in part.events]
    assert len(events) == count
    assert ensemble.entries[0].result.output == "x" * count


def test_text_beyond_the_limit_ends_the_run() -> None:
    runs = FakeRuns({"claude": saying("x" * 600, "y" * 600, "z")})
    limits = replace(LIMITS, max_output_bytes=1000)
    ensemble = Orchestrator(runs, ParallelSettings(), limits).parallel(Parallel(prompts("claude")), Caller())
    assert codes(finished(ensemble)) == ["canceled"]


def test_after_the_deadline_nothing_is_started() -> None:
    runs = FakeRuns({"claude": saying("a")})
    ensemble = orchestrator(runs).parallel(Parallel(prompts("claude", "claude")), Caller(None, Deadline(0.0)))
    entries = finished(ensemble)
    assert codes(entries) == ["timeout", "timeout"]
    assert [entry.result.outcome.exit_code for entry in entries] == [-1, -1]
    assert runs.started == []


def test_every_run_gets_the_deadline_of_the_request() -> None:
    runs = FakeRuns({"claude": saying("a")})
    deadline = Deadline.after(60)
    finished(orchestrator(runs).parallel(Parallel(prompts("claude", "claude")), Caller(None, deadline)))
    assert runs.deadlines == [deadline, deadline]


# ---------------------------------------------------------------------- chain


def steps(*texts: str, backend: str = "claude") -> list[Step]:
    return [Step(f"s{i}", Prompt(backend, text, location=f"steps[{i}]")) for i, text in enumerate(texts)]


def sent(runs: FakeRuns) -> list[str]:
    return [run.plan.prompt.text for run in runs.started]


def test_a_chain_hands_on_what_was_said() -> None:
    runs = FakeRuns({"claude": saying("o", "ne {{previous}}")})
    request = Chain(steps("start", "<{{previous}}> and <{{previous}}>", "last: {{previous}}"))
    entries = finished(orchestrator(runs).chain(request, Caller()))
    said = "one {{previous}}"
    assert sent(runs) == ["start", f"<{said}> and <{said}>", f"last: {said}"]
    assert [(entry.task.index, entry.task.name) for entry in entries] == [(0, "s0"), (1, "s1"), (2, "s2")]


def test_a_chain_hands_on_the_last_success() -> None:
    runs = FakeRuns({"claude": saying("good"), "codex": [[Message("bad")], [BROKE]]})
    chain = [*steps("a"), *steps("b", backend="codex"), *steps("c {{previous}}")]
    entries = finished(orchestrator(runs).chain(Chain([replace(step) for step in chain]), Caller()))
    assert codes(entries) == ["ok", "backend_failed", "ok"]
    assert sent(runs)[-1] == "c good"


def test_a_step_without_a_success_before_it_fails() -> None:
    runs = FakeRuns({"claude": saying("a"), "codex": [[BROKE]]})
    chain = [*steps("a", backend="codex"), *steps("b {{previous}}"), *steps("c")]
    entries = finished(orchestrator(runs).chain(Chain(chain), Caller()))
    assert codes(entries) == ["backend_failed", "invalid_request", "ok"]
    assert sent(runs) == ["a", "c"]


def test_stop_on_failure_ends_the_chain() -> None:
    runs = FakeRuns({"claude": saying("a"), "codex": [[BROKE]]})
    chain = [*steps("a"), *steps("b", backend="codex"), *steps("c")]
    entries = finished(orchestrator(runs).chain(Chain(chain, stop_on_failure=True), Caller()))
    assert codes(entries) == ["ok", "backend_failed"]


def test_a_timeout_keeps_the_finished_steps() -> None:
    caller = Caller(None, Deadline.after(0.2))

    def too_late(_: FakeRun) -> Batch:
        threading.Event().wait(caller.deadline.remaining_s)
        return [Failed(ErrorCode.TIMEOUT, "codex did not finish in time", -1)]

    runs = FakeRuns({"claude": saying("a"), "codex": [too_late]})
    chain = [*steps("a"), *steps("b", backend="codex"), *steps("c")]
    entries = finished(orchestrator(runs).chain(Chain(chain), caller))
    assert codes(entries) == ["ok", "timeout"]
    assert entries[0].result.output == "a"


def test_a_client_that_leaves_ends_the_chain(client: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = client

    def leave(_: FakeRun) -> Batch:
        theirs.close()
        return [Failed(ErrorCode.CANCELED, "the client went away", -1)]

    runs = FakeRuns({"claude": [leave]})
    entries = finished(orchestrator(runs).chain(Chain(steps("a", "b", "c")), Caller(ours.fileno())))
    assert codes(entries) == ["canceled"]


def test_what_was_said_may_be_too_much_for_the_next() -> None:
    runs = FakeRuns({"claude": saying("x" * 100), "codex": saying("never")})
    runs.backends["codex"].max_prompt_bytes = 50
    chain = [*steps("a"), *steps("{{previous}}", backend="codex")]
    assert codes(finished(orchestrator(runs).chain(Chain(chain), Caller()))) == ["ok", "invalid_request"]


def test_a_fault_of_ours_fails_its_own_step() -> None:
    def burst(_: FakeRun) -> Batch:
        raise ZeroDivisionError

    runs = FakeRuns({"claude": saying("a"), "codex": [[Message("half")], burst]})
    chain = [*steps("a"), *steps("b", backend="codex"), *steps("c {{previous}}")]
    entries = finished(orchestrator(runs).chain(Chain(chain), Caller()))
    assert codes(entries) == ["ok", "internal", "ok"]
    assert entries[1].result.output == "half"
    assert sent(runs)[-1] == "c a"


def test_a_chain_that_is_closed_ends_its_run() -> None:
    runs = FakeRuns({"claude": saying("a", "b")})
    parts = orchestrator(runs).chain(Chain(steps("a", "b")), Caller()).parts()
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    assert [run.closed.is_set() for run in runs.started] == [True]


@pytest.mark.parametrize("passed", [True, False])
def test_a_working_folder_is_passed_on_when_asked(passed: bool, tmp_path: Path) -> None:
    runs = FakeRuns({"claude": saying("a")})
    other = tmp_path / "other"
    other.mkdir()
    chain = steps("a", "b", "c", "d")
    for index, folder in ((1, tmp_path), (3, other)):
        chain[index] = replace(chain[index], prompt=replace(chain[index].prompt, workdir=str(folder)))
    finished(orchestrator(runs).chain(Chain(chain, pass_working_dir=passed), Caller()))
    expected = ["", str(tmp_path), str(tmp_path) if passed else "", str(other)]
    assert [run.plan.options.workdir for run in runs.started] == expected


@pytest.mark.parametrize(
    ("texts", "location"),
    [
        (("{{previous}}", "b"), "steps[0].prompt"),
        (("a", "b {{session}}"), "steps[1].prompt"),
        (("a", " "), "steps[1].prompt"),
    ],
)
def test_a_chain_is_validated_whole(texts: tuple[str, ...], location: str) -> None:
    runs = FakeRuns({"claude": saying("a")})
    with pytest.raises(ClinvkError) as caught:
        orchestrator(runs).chain(Chain(steps(*texts)), Caller())
    assert caught.value.problems[0].location == location
    assert runs.started == []


# ---------------------------------------------------------------------- compare


def test_compare_asks_each_backend_with_its_model() -> None:
    runs = FakeRuns({"claude": saying("a"), "codex": saying("b"), "gemini": saying("c")})
    request = Compare("hello", ["gemini", "claude", "codex"], model="m", models={"codex": "n"})
    entries = finished(orchestrator(runs).compare(request, Caller()))
    assert [(entry.run.backend, entry.result.output) for entry in entries] == [
        ("gemini", "c"),
        ("claude", "a"),
        ("codex", "b"),
    ]
    models = {run.backend: run.plan.options.model for run in runs.started}
    assert models == {"claude": "m", "codex": "n", "gemini": "m"}


@pytest.mark.parametrize(("sequential", "at_once"), [(False, 3), (True, 1)])
def test_compare_asks_all_at_once_or_one_by_one(sequential: bool, at_once: int) -> None:
    gate = Gate()
    script: Script = [gate.hold, [Done()]]
    runs = FakeRuns({"claude": script, "codex": script, "gemini": script})
    request = Compare("hello", ["claude", "codex", "gemini"], sequential=sequential)
    thread = in_thread(orchestrator(runs).compare(request, Caller()))
    gate.wait_for(at_once)
    gate.let_through(3)
    thread.join(PATIENCE_S)
    assert gate.most == at_once


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"backends": ["claude", "nobody"]}, "backends[1]"),
        ({"workdir": "/does/not/exist"}, "workdir"),
        ({"prompt": " \n"}, "prompt"),
        ({"model": "-x"}, "model"),
        ({"models": {"claude": "-x"}}, "models.claude"),
    ],
)
def test_compare_names_the_field_of_its_own_request(change: dict[str, object], location: str) -> None:
    request = replace(Compare("hello", ["claude"]), **change)  # type: ignore[arg-type]
    with pytest.raises(ClinvkError) as caught:
        orchestrator(FakeRuns({"claude": saying("a")})).compare(request, Caller())
    assert caught.value.problems[0].location == location


def test_a_dry_run_starts_nothing() -> None:
    runs = FakeRuns({})
    made = orchestrator(runs)
    for ensemble in (
        made.parallel(Parallel(prompts("claude"), dry_run=True), Caller()),
        made.chain(Chain(steps("a"), dry_run=True), Caller()),
        made.compare(Compare("a", ["claude"], dry_run=True), Caller()),
    ):
        entries = finished(ensemble)
        assert codes(entries) == ["ok"]
        assert "<stdin>" in entries[0].result.output
    assert runs.started == []


def test_sessions_are_refused() -> None:
    made = orchestrator(FakeRuns({}))
    with pytest.raises(ClinvkError) as caught:
        made.parallel(Parallel([Prompt("claude", "a", session_id="x", location="tasks[0]")]), Caller())
    assert caught.value.problems[0].location == "tasks[0].session_id"
    with pytest.raises(ClinvkError) as caught:
        made.chain(Chain([Step("", Prompt("claude", "a", session_id="x", location="steps[0]"))]), Caller())
    assert caught.value.problems[0].location == "steps[0].session_id"
