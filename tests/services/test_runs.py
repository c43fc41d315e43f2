"""One run and many, against real processes: what comes out, and that nothing stays."""

from __future__ import annotations

import ctypes
import itertools
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from services import descendants
from services.backends.base import InRun
from services.deadline import Deadline
from services.errors import ClinvkError, ErrorCode
from services.events import Done, Event, Failed, Init, Message
from services.process import Wake
from services.prompts import Prompt
from services.runs import Run, Runs
from services.settings import BackendSettings, ServerSettings
from tests.support.files import below, run_folders
from tests.support.scripts import ScriptBackend, script_runs
from tests.support.waiting import wait_until

LIMITS = ServerSettings(max_concurrent_runs=2, max_queued_runs=2)


@pytest.fixture
def make_runs(tmp_path: Path) -> Iterator[Callable[..., Runs]]:
    made: list[Runs] = []

    def make(script: str = "cat", limits: ServerSettings = LIMITS, **options: object) -> Runs:
        settings = options.pop("settings", None)
        environment = options.pop("environment", None)
        backend = ScriptBackend(script, **options)  # type: ignore[arg-type]
        made.append(script_runs(backend, tmp_path, limits, settings, environment))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for runs in made:
        runs.close()
        assert not runs.active()
        assert runs.slots.active == runs.slots.queued == 0


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Orphans come to the test process, as they come to a worker."""
    descendants.become_subreaper()
    yield
    ctypes.CDLL(None).prctl(descendants.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def start(runs: Runs, text: str = "hello", **fields: object) -> Run:
    seconds = fields.pop("seconds", 0)
    client_fd = fields.pop("client_fd", None)
    prompt = replace(Prompt("script", text), **fields)  # type: ignore[arg-type]
    return runs.start(runs.check(prompt), client_fd=client_fd, deadline=Deadline.after(seconds))  # type: ignore[arg-type]


def events_of(run: Run) -> list[Event]:
    return list(itertools.chain.from_iterable(run.batches()))


def wait_for_pid(path: Path) -> psutil.Process:
    deadline = Deadline.after(10)
    while not deadline.passed:
        with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return psutil.Process(int(path.read_text()))
        time.sleep(0.01)
    raise AssertionError(f"nobody wrote {path}")


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


# ---------------------------------------------------------------- what comes out


def test_the_prompt_goes_by_stdin_and_lines_become_events(make_runs: Callable[..., Runs]) -> None:
    run = start(make_runs("echo INIT abc; cat; echo; echo end"), "a prompt")
    assert events_of(run) == [Init("the-model", "abc"), Message("a prompt"), Message("end"), Done()]
    assert (run.model, run.cli_session_id) == ("the-model", "abc")


def test_a_prompt_of_any_size_is_written_while_the_answer_is_read(make_runs: Callable[..., Runs]) -> None:
    text = "ü" * 3_000_000
    assert start(make_runs("cat"), text).collect().output == text


def test_a_last_line_without_newline_counts(make_runs: Callable[..., Runs]) -> None:
    assert start(make_runs("printf 'one\\ntwo'")).collect().output == "onetwo"


def test_a_line_beyond_the_bound_ends_the_run(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("head -c 3000000 /dev/zero; sleep 60", replace(LIMITS, max_line_bytes=1 << 20))
    outcome = start(runs).collect().outcome
    assert isinstance(outcome, Failed)
    assert "line over 1 MiB" in outcome.message


def test_a_line_within_the_bound_is_whole(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("head -c 12000000 /dev/zero | tr '\\0' x; echo")
    assert start(runs).collect().output == "x" * 12_000_000


def test_raw_framing_passes_pieces_on(make_runs: Callable[..., Runs]) -> None:
    run = start(make_runs("printf one; read -t 0.2 x < /dev/zero; printf two; exec cat", framing="raw"), "three")
    assert "".join(e.text for e in events_of(run) if isinstance(e, Message)) == "onetwothree"


def test_too_much_output_to_collect_is_an_error_and_streams_all_the_same(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("yes | head -c 4000000", replace(LIMITS, max_output_bytes=1 << 20), framing="raw")
    outcome = start(runs).collect().outcome
    assert isinstance(outcome, Failed)
    assert "more than 1 MiB" in outcome.message
    assert sum(len(e.text) for e in events_of(start(runs)) if isinstance(e, Message)) == 4_000_000


def test_two_hundred_megabytes_stream_in_bounded_memory(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("yes 0123456789012345678901234567890123456789 | head -c 200000000", framing="raw")
    size = 0
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for batch in start(runs).batches():
        size += sum(len(event.text) for event in batch if isinstance(event, Message))
    assert size == 200_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


def test_stderr_is_bounded_and_its_tail_is_told_without_secrets(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs(
        'yes noise | head -c 5000000 >&2; echo "key $MY_API_KEY and sk-ant-abcdefghijklmnop" >&2; exit 3',
        environment={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "MY_API_KEY": "a-very-secret-value"},
        limits=replace(LIMITS, pass_env=("MY_API_KEY",)),
    )
    outcome = start(runs).collect().outcome
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == 3
    assert outcome.message.endswith("key *** and ***")
    assert len(outcome.message) <= 4096


def test_a_cli_that_ignores_stdin_does_not_hang(make_runs: Callable[..., Runs]) -> None:
    assert start(make_runs("exec 0<&-; echo done"), "x" * 1_000_000).collect().output == "done"


def test_files_and_opening(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs(
        'cat "$NOTE"; stat -c %a "$NOTE"; pwd; echo "$TMPDIR"; cat',
        files=(("note.txt", "noted\n"),),
        variables=(("NOTE", InRun("note.txt")),),
        opening=b"opened ",
    )
    run = start(runs, "asked")
    noted, mode, cwd, tmpdir, said = [e.text for e in events_of(run) if isinstance(e, Message)]
    assert (noted, mode, said) == ("noted", "600", "opened asked")
    assert Path(cwd).parent == Path(tmpdir).parent
    wait_until(lambda: not Path(cwd).parent.exists())


def test_the_environment_is_clean(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs(
        "env",
        environment={"HOME": "/h", "PATH": "/usr/bin:/bin", "CLINVK_API_KEYS": "k", "OTHER": "o", "LC_ALL": "C.UTF-8"},
        limits=replace(LIMITS, pass_env=("CLINVK_*",)),
    )
    names = {e.text.partition("=")[0] for e in events_of(start(runs)) if isinstance(e, Message)}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"HOME", "PATH", "LC_ALL", "TMPDIR", "CLINVK_RUN_ID"}


def test_a_cli_that_says_its_last_word_and_stays_is_ended(make_runs: Callable[..., Runs]) -> None:
    began_s = time.monotonic()
    result = start(make_runs("echo LAST; exec sleep 60", keep_stdin=True)).collect()
    assert isinstance(result.outcome, Done)
    assert time.monotonic() - began_s < 5


def test_a_cli_that_would_retry_for_ever_is_ended_at_once(make_runs: Callable[..., Runs]) -> None:
    began_s = time.monotonic()
    outcome = start(make_runs("echo GIVE-UP; exec sleep 60", keep_stdin=True)).collect().outcome
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == 1
    assert time.monotonic() - began_s < 1.5


def test_a_conversation_that_loses_patience_is_ended(make_runs: Callable[..., Runs]) -> None:
    began_s = time.monotonic()
    outcome = start(make_runs("echo PATIENCE 0.3; exec sleep 60", keep_stdin=True)).collect().outcome
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == 1
    assert 0.3 <= time.monotonic() - began_s < 2


def test_every_line_renews_the_patience(make_runs: Callable[..., Runs]) -> None:
    script = "echo PATIENCE 0.4; for i in 1 2 3; do sleep 0.2; echo $i; done; echo PATIENCE 60; sleep 0.6"
    assert isinstance(start(make_runs(script, keep_stdin=True)).collect().outcome, Done)


def test_silence_gives_heartbeats(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("sleep 0.5; echo done", replace(LIMITS, heartbeat_secs=0.1, headers_after_secs=0.05))
    batches = list(start(runs).batches())
    assert sum(1 for batch in batches if not batch) >= 3
    assert [event for batch in batches for event in batch] == [Message("done"), Done()]


# ---------------------------------------------------------------- what cannot start


def test_a_program_that_is_not_there_or_cannot_run(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    for program in (str(tmp_path), str(plain), str(broken), "no-such-program", str(tmp_path / "gone")):
        runs = make_runs(program=program)
        with pytest.raises(ClinvkError) as caught:
            start(runs)
        assert caught.value.code is ErrorCode.BACKEND_UNAVAILABLE
        assert caught.value.retry_after_s is None
    with pytest.raises(ClinvkError, match="install bash"):
        start(make_runs(program="no-such-program"))


def test_a_backend_that_is_switched_off(make_runs: Callable[..., Runs]) -> None:
    with pytest.raises(ClinvkError, match="switched off") as caught:
        start(make_runs(settings=BackendSettings(enabled=False)))
    assert caught.value.code is ErrorCode.BACKEND_UNAVAILABLE


def test_a_folder_that_vanished_after_the_check(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    runs = make_runs()
    folder = tmp_path / "here"
    folder.mkdir()
    plan = runs.check(Prompt("script", "x", workdir=str(folder)))
    folder.rmdir()
    with pytest.raises(ClinvkError) as caught:
        runs.start(plan)
    assert caught.value.code is ErrorCode.WORKDIR_NOT_ALLOWED


# ---------------------------------------------------------------- how it ends


@pytest.fixture
def hidden(tmp_path: Path, subreaper: None) -> tuple[str, Callable[[], list[psutil.Process]]]:
    """A script that hides three processes: in a session of its own, orphaned there, and there without environment."""
    spots = [tmp_path / f"pid{i}" for i in range(3)]
    script = (
        f"setsid sh -c 'echo $$ > {spots[0]}; exec sleep 771' & "
        f"(setsid sh -c 'echo $$ > {spots[1]}; exec sleep 772' &) ; "
        f"(env -i /usr/bin/setsid /bin/sh -c 'echo $$ > {spots[2]}; exec /bin/sleep 773' > /dev/null 2>&1 &) ; "
    )
    return script, lambda: [wait_for_pid(spot) for spot in spots]


STUBBORN = "trap '' TERM INT; echo ready; while :; do sleep 1; done"


@pytest.mark.parametrize("how", ["the folder", "its parent"])
def test_a_folder_swapped_for_a_link_after_the_check_is_not_entered(
    make_runs: Callable[..., Runs], tmp_path: Path, how: str
) -> None:
    secret, parent = tmp_path / "secret", tmp_path / "parent"
    (secret / "work").mkdir(parents=True)
    (parent / "work").mkdir(parents=True)
    runs = make_runs(f"touch {tmp_path / 'entered'}; pwd")
    plan = runs.check(Prompt("script", "x", workdir=str(parent / "work")))
    if how == "the folder":
        (parent / "work").rmdir()
        (parent / "work").symlink_to(secret / "work")
    else:
        parent.rename(tmp_path / "moved")
        parent.symlink_to(secret)
    with pytest.raises(ClinvkError) as raised:
        runs.start(plan).collect()
    assert raised.value.code is ErrorCode.WORKDIR_NOT_ALLOWED
    assert not (tmp_path / "entered").exists()


def test_a_given_folder_is_the_clis_own(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    assert start(make_runs("pwd; cat"), workdir=str(folder)).collect().output.startswith(str(folder))


def test_a_normal_end_leaves_nothing(
    make_runs: Callable[..., Runs], hidden: tuple[str, Callable[[], list[psutil.Process]]], tmp_path: Path
) -> None:
    script, processes = hidden
    started = " && ".join(f"[ -s {tmp_path}/pid{i} ]" for i in range(3))
    go = tmp_path / "go"
    runs = make_runs(
        f"{script} until {started}; do sleep 0.01; done; echo ready; until [ -e {go} ]; do sleep 0.01; done"
    )
    run = start(runs)
    batches = run.batches()
    assert next(batches) == [Message("ready")]
    found = processes()
    go.touch()
    assert [event for batch in batches for event in batch] == [Done()]
    assert [is_gone(process) for process in found] == [True] * 3


@pytest.mark.parametrize("how", ["deadline", "cancel", "client gone", "close", "generator closed", "stop", "expire"])
def test_an_early_end_leaves_nothing(
    make_runs: Callable[..., Runs], hidden: tuple[str, Callable[[], list[psutil.Process]]], tmp_path: Path, how: str
) -> None:
    script, processes = hidden
    runs = make_runs(script + STUBBORN)
    ours, clients = socket.socketpair()
    run = start(runs, client_fd=ours.fileno(), seconds=1.0 if how == "deadline" else 0)
    batches = run.batches()
    assert next(batches) == [Message("ready")]
    found = [psutil.Process(run._started.child.pid), *processes()]  # type: ignore[union-attr]
    began_s = time.monotonic()
    match how:
        case "cancel":
            threading.Timer(0.1, run.cancel).start()
        case "client gone":
            threading.Timer(0.1, clients.close).start()
        case "close":
            run.close()
        case "generator closed":
            batches.close()  # type: ignore[attr-defined]
        case "stop":
            threading.Thread(target=runs.stop).start()
        case "expire":
            run.expire()
    rest = [event for batch in batches for event in batch]
    assert time.monotonic() - began_s < (3 if how == "deadline" else 2)
    assert [is_gone(process) for process in found] == [True] * 4
    wait_until(lambda: not run_folders(tmp_path / "runs"))
    if how not in ("close", "generator closed"):
        outcome = rest[-1]
        assert isinstance(outcome, Failed)
        assert outcome.exit_code == -1
        assert outcome.code is (ErrorCode.TIMEOUT if how in ("deadline", "expire") else ErrorCode.CANCELED)
    ours.close()
    clients.close()


def test_an_interrupted_cli_is_waited_for_without_spinning(make_runs: Callable[..., Runs]) -> None:
    ours, clients = socket.socketpair()
    with ours:
        run = start(make_runs("trap '' TERM; echo ready; exec sleep 60"), client_fd=ours.fileno())
        batches = run.batches()
        assert next(batches) == [Message("ready")]
        clients.close()
        wake_ups = 0
        assert run._started is not None
        wait = run._started.child.wait

        def counted(timeout_s: float, client_fd: int | None = None) -> Wake:
            nonlocal wake_ups
            wake_ups += 1
            return wait(timeout_s, client_fd)

        run._started.child.wait = counted  # type: ignore[method-assign]
        assert isinstance(next(batches)[-1], Failed)
        assert wake_ups < 10


def test_pipelined_bytes_are_no_sign_of_leaving(make_runs: Callable[..., Runs]) -> None:
    ours, clients = socket.socketpair()
    clients.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with ours, clients:
        run = start(make_runs("sleep 0.3; cat"), client_fd=ours.fileno())
        assert isinstance(run.collect().outcome, Done)


def test_the_watchdog_ends_a_run_whose_thread_is_blocked(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("echo ready; exec sleep 60")
    runs.watch()
    run = start(runs, seconds=0.2)
    batches = run.batches()
    assert next(batches) == [Message("ready")]
    process = psutil.Process(run._started.child.pid)  # type: ignore[union-attr]
    deadline = Deadline.after(5)
    while runs.slots.active and not deadline.passed:  # this thread does not look after the run
        time.sleep(0.02)
    assert runs.slots.active == 0
    assert is_gone(process)
    last = [event for batch in batches for event in batch][-1]
    assert isinstance(last, Failed)
    assert last.code is ErrorCode.TIMEOUT


def test_leftovers_in_the_home_are_removed(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    script = (
        'mkdir -p "$HOME/.cli/chats"; touch "$HOME/.cli/chats/s-abc.json" "$HOME/.cli/chats/other"; echo INIT abc; cat'
    )
    start(make_runs(script, leftovers=(".cli/chats/s-{session}*",))).collect()
    wait_until(lambda: [path.name for path in (tmp_path / ".cli/chats").iterdir()] == ["other"])


def test_a_folder_that_a_star_stands_for_goes_with_the_last_thing_in_it(
    make_runs: Callable[..., Runs], tmp_path: Path
) -> None:
    script = 'mkdir -p "$HOME/.cli/one" "$HOME/.cli/two"; touch "$HOME/.cli/one/abc" "$HOME/.cli/two/abc"; '
    script += 'touch "$HOME/.cli/two/other"; echo INIT abc; cat'
    start(make_runs(script, leftovers=(".cli/*/{session}",))).collect()
    left = {tmp_path / ".cli" / "two", tmp_path / ".cli" / "two" / "other"}
    wait_until(lambda: below(tmp_path / ".cli") == left)


@pytest.mark.parametrize("told", ["..", ".", "../..", "a/../..", "/", "*", "**"])
def test_an_odd_session_id_removes_nothing(make_runs: Callable[..., Runs], tmp_path: Path, told: str) -> None:
    script = f'mkdir -p "$HOME/.cli/chats/kept"; echo "INIT {told}"; cat'
    start(make_runs(script, leftovers=(".cli/chats/{session}", ".cli/*/{session}"))).collect()
    assert (tmp_path / ".cli" / "chats" / "kept").is_dir()


def test_no_file_descriptor_is_lost(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("cat")
    start(runs).collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        start(runs).collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# ---------------------------------------------------------------- slots


def test_the_third_run_waits_for_a_slot(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("cat", keep_stdin=True)
    first, second = start(runs), start(runs)
    outputs: list[str] = []
    waiting = threading.Thread(target=lambda: outputs.append(start(make_run_short, "third").collect().output))
    make_run_short = runs
    runs.check(Prompt("script", "x")).backend.keep_stdin = False  # type: ignore[attr-defined]
    waiting.start()
    deadline = Deadline.after(5)
    while runs.slots.queued != 1 and not deadline.passed:
        time.sleep(0.005)
    assert (runs.slots.active, runs.slots.queued) == (2, 1)
    assert outputs == []
    first.close()
    waiting.join(5)
    assert outputs == ["third"]
    second.close()


def test_a_full_queue_is_overloaded(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("cat", replace(LIMITS, max_concurrent_runs=1, max_queued_runs=0), keep_stdin=True)
    with start(runs), pytest.raises(ClinvkError) as caught:
        start(runs)
    assert caught.value.code is ErrorCode.OVERLOADED
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1


@pytest.mark.parametrize("how", ["queue timeout", "deadline", "client gone", "stop"])
def test_waiting_ends(make_runs: Callable[..., Runs], how: str) -> None:
    limits = replace(LIMITS, max_concurrent_runs=1, queue_timeout_secs=0.2 if how == "queue timeout" else 30)
    runs = make_runs("cat", limits, keep_stdin=True)
    ours, clients = socket.socketpair()
    with start(runs), ours:
        if how == "client gone":
            threading.Timer(0.1, clients.close).start()
        if how == "stop":
            threading.Timer(0.1, runs.stop).start()
        began_s = time.monotonic()
        with pytest.raises(ClinvkError) as caught:
            start(runs, client_fd=ours.fileno(), seconds=0.2 if how == "deadline" else 0)
        assert time.monotonic() - began_s < 1.5
    clients.close()
    expected = {"deadline": ErrorCode.TIMEOUT, "client gone": ErrorCode.CANCELED}
    assert caught.value.code is expected.get(how, ErrorCode.OVERLOADED)


def test_what_comes_after_the_stop_is_told_to_come_again_and_starts_nothing(make_runs: Callable[..., Runs]) -> None:
    runs = make_runs("cat")
    runs.stop()
    with pytest.raises(ClinvkError, match="the server is stopping") as caught:
        start(runs)
    assert (caught.value.code, caught.value.ran) == (ErrorCode.OVERLOADED, False)
    assert caught.value.retry_after_s
    assert runs.active() == []
