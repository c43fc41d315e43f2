"""Processes that were started in advance: handed out only when they are as good as new, and never left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from services.backends.base import Options, PromptText, Spawn
from services.backends.login import Login, LoginCheck
from services.errors import ErrorCode
from services.events import Done, Failed, Message
from services.planning import Kept
from services.pool import SPARE_BYTES, Pool
from services.process import Engine
from services.prompts import Prompt
from services.run import Run
from services.runs import Runs
from services.settings import ServerSettings
from services.shelf import Bounds
from tests.support.files import run_folders
from tests.support.scripts import ScriptBackend, script_runs
from tests.support.waiting import wait_until

LIMITS = ServerSettings(max_concurrent_runs=4, max_queued_runs=2)


class Talker(ScriptBackend):
    """A script that depends on the model that is asked, with a login in a file."""

    login_check = LoginCheck(lambda _: Login(True), files=(".login",))
    can_resume = True

    def spawn(self, options: Options) -> Spawn:
        spawn = super().spawn(options)
        return replace(spawn, argv=(*spawn.argv, options.model), in_advance=options.model != "never")


@dataclass
class World:
    """A pool without a thread of its own, whose time and memory the test makes."""

    folder: Path
    now_s: float = 0.0
    left_bytes: int | None = None
    runs: Runs = None  # type: ignore[assignment]
    pool: Pool = None  # type: ignore[assignment]

    def start(self, text: str = "hello", *, kept: Kept | None = None, **fields: object) -> Run:
        prompt = replace(Prompt("script", text), **fields)  # type: ignore[arg-type]
        return self.runs.start(self.runs.check(prompt, kept))

    def ask(self, text: str = "hello", *, kept: Kept | None = None, **fields: object) -> tuple[str, bool]:
        """The answer, and whether the process had been started in advance; the next one is by the time it is given."""
        with self.start(text, kept=kept, **fields) as run:
            result = run.collect()
        assert isinstance(result.outcome, Done)
        self.pool.tend()
        return result.output, run.is_warm

    def waiting(self) -> list[psutil.Process]:
        return [psutil.Process(waiting.started.child.pid) for waiting in self.pool._shelf]

    def folders(self) -> list[Path]:
        """Those of runs and of processes that wait."""
        return run_folders(self.folder / "runs")


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    made: list[World] = []

    def make(script: str = "exec cat", total: int = 2, idle_s: float = 60.0, **options: object) -> World:
        world = World(tmp_path)

        def make_pool(engine: Engine) -> Pool:
            world.pool = Pool(
                engine,
                Bounds(total, idle_s),
                clock=lambda: world.now_s,
                available=lambda: world.left_bytes,
                settle_s=0.0,
            )
            return world.pool

        world.runs = script_runs(Talker(script, **options), tmp_path, LIMITS, make_pool=make_pool)  # type: ignore[arg-type]
        made.append(world)
        return world

    yield make
    for world in made:
        processes = world.waiting()
        world.runs.close()
        assert not any(process.is_running() for process in processes)
        assert world.folders() == []


def until_it_says(process: psutil.Process, path: Path) -> None:
    """Wait until a process has made a file."""
    wait_until(lambda: path.exists() or not process.is_running())


# ---------------------------------------------------------------- handed out


def test_the_next_prompt_finds_its_process_there(make_world: MakeWorld) -> None:
    world = make_world('echo "$$ $PWD"; exec cat')
    assert world.ask()[1] is False
    (process,) = world.waiting()
    output, is_warm = world.ask("again")
    assert is_warm
    pid, folder = output.removesuffix("again").split()
    assert int(pid) == process.pid
    wait_until(lambda: not Path(folder).exists())
    assert process.pid not in [other.pid for other in world.waiting()]


def test_each_serves_one_run_in_a_folder_of_its_own(make_world: MakeWorld) -> None:
    world = make_world('ls -A; cat > kept; echo "$PWD"')
    outputs = [world.ask(f"text {number}")[0] for number in range(4)]
    assert len(set(outputs)) == 4
    assert not any("kept" in output for output in outputs)


def test_its_opening_is_written_in_advance_and_what_it_says_to_that_is_heard(make_world: MakeWorld) -> None:
    world = make_world('read -r line; echo "INIT $line"; touch "$HOME/opened"; exec cat', opening=b"opening\n")
    world.ask()
    (world.folder / "opened").unlink()
    world.pool.prepare(next(iter(world.pool._shelf)).order)
    world.pool.tend()
    until_it_says(world.waiting()[-1], world.folder / "opened")
    with world.start("the prompt") as run:
        assert run.collect().output == "the prompt"
    assert (run.is_warm, run.cli_session_id, run.model) == (True, "opening", "the-model")


def test_as_many_wait_as_were_needed_at_once(make_world: MakeWorld) -> None:
    world = make_world(total=8)
    runs = [world.start() for _ in range(3)]
    for run in runs:
        run.collect()
    world.pool.tend()
    assert world.pool.waiting == 3
    for _ in range(4):
        assert world.ask()[1]
    assert world.pool.waiting == 3


def test_no_more_wait_than_there_may(make_world: MakeWorld) -> None:
    world = make_world(total=2)
    for model in ("one", "two", "three"):
        world.ask(model=model)
    assert world.pool.waiting == 2
    assert [world.ask(model=model)[1] for model in ("two", "three", "one")] == [True, True, False]


def test_none_wait_where_none_may(make_world: MakeWorld) -> None:
    world = make_world(total=0)
    assert [world.ask()[1] for _ in range(2)] == [False, False]
    assert world.waiting() == []


# ---------------------------------------------------------------- not shared, not started


def test_no_key_gets_what_was_started_for_another(make_world: MakeWorld) -> None:
    world = make_world()
    world.ask(owner="one")
    assert world.ask(owner="two")[1] is False
    assert world.ask(owner="one")[1] is True


def test_what_was_started_for_nobody_is_anybodys_but_ones_own_comes_first(make_world: MakeWorld) -> None:
    world = make_world("echo $$; exec cat", total=3)
    world.runs.prepare(world.runs.check(Prompt("script", "whatever")))
    world.pool.tend()
    (nobodys,) = world.waiting()
    world.runs.prepare(world.runs.check(Prompt("script", "whatever", owner="one")))
    world.pool.tend()
    output, is_warm = world.ask("x", owner="one")
    assert is_warm
    assert int(output.removesuffix("x")) != nobodys.pid
    output, is_warm = world.ask("x", owner="two")
    assert is_warm
    assert int(output.removesuffix("x")) == nobodys.pid
    assert {waiting.order.owner for waiting in world.pool._shelf} == {"one", "two"}


def test_other_options_are_another_process(make_world: MakeWorld) -> None:
    world = make_world()
    world.ask(model="one")
    assert world.ask(model="two")[1] is False


def test_nothing_is_started_where_it_could_not_be_as_good(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world()
    (tmp_path / "project").mkdir()
    world.ask(workdir=str(tmp_path / "project"))
    world.ask(model="never")
    world.ask(kept=Kept(str(tmp_path / "project"), "a-session"))
    world.ask(kept=Kept(str(tmp_path / "project"), "a-session", as_of=1.0))
    assert world.waiting() == []


def test_a_prompt_on_the_command_line_is_never_there_in_advance(make_world: MakeWorld) -> None:
    class OnCommandLine(Talker):
        def spawn(self, options: Options) -> Spawn:
            return replace(super().spawn(options), argv=("bash", "-c", 'echo "$1"', "x", PromptText()))

    world = make_world()
    plan = world.runs.check(Prompt("script", "hello"))
    backend = OnCommandLine()
    plan = replace(plan, backend=backend, spawn=backend.spawn(plan.options))
    assert world.runs.start(plan).collect().output == "hello"
    world.pool.tend()
    assert world.waiting() == []


def test_after_a_failure_of_the_cli_none_is_started(make_world: MakeWorld) -> None:
    world = make_world("exit 3")
    outcome = world.start().collect().outcome
    assert isinstance(outcome, Failed)
    world.pool.tend()
    assert world.waiting() == []


# ---------------------------------------------------------------- out of date


def test_the_dead_are_not_handed_out(make_world: MakeWorld) -> None:
    world = make_world(total=3)
    for run in [world.start() for _ in range(3)]:
        run.collect()
    world.pool.tend()
    for process in world.waiting():
        process.kill()
        wait_until(lambda process=process: process.status() == psutil.STATUS_ZOMBIE)  # type: ignore[misc]
    assert world.ask("still answered") == ("still answered", False)


def test_the_dead_are_buried(make_world: MakeWorld) -> None:
    world = make_world()
    world.ask()
    (process,) = world.waiting()
    process.kill()
    wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE)
    world.pool.tend()
    assert world.pool.waiting == 0
    assert not process.is_running()
    wait_until(lambda: world.folders() == [])


def test_an_upgraded_program_is_started_anew(make_world: MakeWorld, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/bash\necho "old $(cat)"\n')
    program.chmod(0o755)
    world = make_world(program=str(program))
    assert world.ask("x") == ("old x", False)
    assert world.ask("x") == ("old x", True)
    new = tmp_path / "new"
    new.write_text('#!/bin/bash\necho "new $(cat)"\n')
    new.chmod(0o755)
    new.rename(program)
    assert world.ask("x") == ("new x", False)
    assert world.ask("x") == ("new x", True)


@pytest.mark.parametrize("change", ["in", "out", "other"])
def test_another_login_is_read_anew(make_world: MakeWorld, tmp_path: Path, change: str) -> None:
    login = tmp_path / ".login"
    if change != "in":
        login.write_text("one")
    world = make_world('echo "as $(cat "$HOME/.login" 2>/dev/null): $(cat)"')
    world.ask()
    if change == "out":
        login.unlink()
    else:
        login.write_text("somebody else")
    output, is_warm = world.ask("x")
    assert (output, is_warm) == (f"as {'' if change == 'out' else 'somebody else'}: x", False)


def test_a_folder_that_was_taken_away_is_missed(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world("pwd; exec cat")
    (tmp_path / "work" / "a").mkdir(parents=True)
    world.ask(kept=Kept(str(tmp_path / "work" / "a")))
    (waiting,) = list(world.pool._shelf)
    Path(waiting.folder).rename(tmp_path / "elsewhere")
    (tmp_path / "work" / "b").mkdir()
    output, is_warm = world.ask("x", kept=Kept(str(tmp_path / "work" / "b")))
    assert (output, is_warm) == (f"{tmp_path}/work/bx", False)


@pytest.mark.parametrize("said", ["GIVE-UP", "LAST"])
def test_what_has_given_up_before_its_prompt_does_not_get_it(make_world: MakeWorld, tmp_path: Path, said: str) -> None:
    world = make_world(f'if [ -e "$HOME/ill" ]; then echo {said}; touch "$HOME/said"; fi; exec cat')
    (tmp_path / "ill").touch()
    with world.start() as run:
        order = run.order
    assert order is not None
    world.pool.prepare(order)
    world.pool.tend()
    wait_until((tmp_path / "said").exists)
    (tmp_path / "ill").unlink()
    (ill,) = world.waiting()[:1]
    assert world.ask("x")[0] == "x"
    assert not ill.is_running()


# ---------------------------------------------------------------- dying with the prompt

DIES_ONCE = 'text=$(cat); if [ -e "$HOME/die" ]; then rm "$HOME/die"; {what} exit 3; fi; echo "$text"'


def test_what_dies_with_the_prompt_is_replaced_unseen(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(DIES_ONCE.format(what=""))
    world.ask()
    (process,) = world.waiting()
    (tmp_path / "die").touch()
    assert world.ask("the prompt") == ("the prompt", False)
    assert not (tmp_path / "die").exists()
    assert not process.is_running()


def test_a_session_whose_process_dies_with_the_prompt_keeps_the_folder_it_was_given(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world(DIES_ONCE.format(what="").replace("echo", "pwd; echo"))
    for name in ("a", "b"):
        (tmp_path / "work" / name).mkdir(parents=True)
    world.ask(kept=Kept(str(tmp_path / "work" / "a")))
    (tmp_path / "die").touch()
    with world.start("x", kept=Kept(str(tmp_path / "work" / "b"))) as run:
        given = run.workdir
        (tmp_path / "work" / "b").rmdir()  # as a session does that was given another
        assert run.collect().output == f"{given}x"
    assert not (tmp_path / "die").exists()
    assert run.workdir == given
    assert Path(given).is_dir()


def test_what_cannot_be_started_again_either_has_failed(make_world: MakeWorld, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(
        '#!/bin/bash\ntext=$(cat)\necho "$text" >> "$HOME/asked"\nuntil [ -e "$HOME/go" ]; do sleep 0.01; done\n'
    )
    with program.open("a") as script:
        script.write('[ -e "$HOME/die" ] && exit 3\necho "$text"\n')
    program.chmod(0o755)
    world = make_world(program=str(program))
    (tmp_path / "go").touch()
    world.ask()
    (tmp_path / "go").unlink()
    with world.start("x") as run:
        assert run.is_warm
        wait_until(lambda: (tmp_path / "asked").read_text() == "hello\nx\n")
        program.unlink()
        (tmp_path / "die").touch()
        (tmp_path / "go").touch()
        outcome = run.collect().outcome
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == 3


def test_what_dies_after_it_said_something_has_failed(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(DIES_ONCE.format(what="echo half;"))
    world.ask()
    (tmp_path / "die").touch()
    with world.start() as run:
        events = [event for batch in run.batches() for event in batch]
    assert events[0] == Message("half")
    assert isinstance(events[-1], Failed)
    assert events[-1].exit_code == 3


def test_a_canceled_run_is_not_begun_again(make_world: MakeWorld) -> None:
    world = make_world('cat > "$HOME/asked"; exec sleep 60')
    with world.start() as run:
        order = run.order
    assert order is not None
    world.pool.prepare(order)
    world.pool.tend()
    run = world.start()
    assert run.is_warm
    wait_until((world.folder / "asked").exists)
    run.cancel()
    outcome = run.collect().outcome
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.CANCELED


# ---------------------------------------------------------------- sessions


def test_a_session_gets_the_folder_that_its_process_waited_in(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world("pwd; exec cat")
    for name in ("a", "b"):
        (tmp_path / "work" / name).mkdir(parents=True)
    world.ask(kept=Kept(str(tmp_path / "work" / "a")))
    with world.start("x", kept=Kept(str(tmp_path / "work" / "b"))) as run:
        output = run.collect().output
    assert run.is_warm
    assert run.workdir not in (str(tmp_path / "work" / "a"), str(tmp_path / "work" / "b"))
    assert output == f"{run.workdir}x"
    assert Path(run.workdir).is_dir(), "it is the session's now"


def test_the_folder_of_a_session_that_never_was_goes_away(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world()
    (tmp_path / "work" / "a").mkdir(parents=True)
    world.ask(kept=Kept(str(tmp_path / "work" / "a")))
    assert len(list((tmp_path / "work").iterdir())) == 2
    world.pool.close()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["a"]


def keep(world: World, folder: Path, *, as_of: float, conversation: str = "a-session", idle_s: float = 5.0) -> Kept:
    """Let a process wait on a conversation whose folder this is, and say what its next turn belongs to."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = Kept(str(folder), conversation, as_of)
    world.runs.prepare(world.runs.check(Prompt("script", "whatever"), kept), idle_s)
    world.pool.tend()
    return kept


def test_the_next_turn_of_a_conversation_finds_its_process_there_and_the_turn_after_that_does_not(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world("pwd; exec cat")
    kept = keep(world, tmp_path / "work" / "a", as_of=1.0)
    assert world.ask("x", kept=kept) == (f"{kept.folder}x", True)
    assert world.waiting() == []
    assert world.ask("x", kept=kept)[1] is False


@pytest.mark.parametrize(
    "other",
    [Kept("a", "a-session", 2.0), Kept("a", "a-session"), Kept("a", "another", 1.0), Kept("b", "a-session", 1.0)],
)
def test_what_waits_on_a_conversation_fits_no_other_and_not_that_one_once_it_went_on(
    make_world: MakeWorld, tmp_path: Path, other: Kept
) -> None:
    world = make_world()
    keep(world, tmp_path / "a", as_of=1.0)
    (tmp_path / "b").mkdir()
    assert world.ask(kept=replace(other, folder=str(tmp_path / other.folder)))[1] is False
    assert world.pool.waiting == 1


def test_what_waits_on_a_conversation_has_a_time_of_its_own(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(idle_s=60, total=3)
    world.ask()
    keep(world, tmp_path / "a", as_of=1.0, idle_s=5.0)
    world.now_s = 4.0
    world.pool.tend()
    assert world.pool.waiting == 2
    world.now_s = 5.0
    world.pool.tend()
    assert [waiting.order.turn for waiting in world.pool._shelf] == [None]
    assert (tmp_path / "a").is_dir(), "it is the session's"


def test_with_a_conversation_goes_what_waits_on_it_or_is_about_to(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(total=4)
    world.ask()
    kept = keep(world, tmp_path / "a", as_of=1.0)
    keep(world, tmp_path / "b", as_of=1.0, conversation="another")
    world.runs.prepare(world.runs.check(Prompt("script", "whatever"), kept), 5.0)
    world.runs.drop("script", "a-session")
    world.pool.tend()
    assert [waiting.order.turn for waiting in world.pool._shelf] == [None, ("another", 1.0)]


def test_what_waits_on_a_conversation_is_not_told_that_it_may_go(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world('touch "$HOME/there"; while read -r line; do :; done; touch "$HOME/told"', opening=b"opening\n")
    keep(world, tmp_path / "a", as_of=1.0)
    until_it_says(world.waiting()[0], tmp_path / "there")
    world.runs.drop("script", "a-session")
    world.pool.tend()
    assert not (tmp_path / "told").exists()


def test_a_turn_whose_process_dies_with_the_prompt_gets_another(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(DIES_ONCE.format(what=""))
    kept = keep(world, tmp_path / "a", as_of=1.0)
    (tmp_path / "die").touch()
    assert world.ask("x", kept=kept) == ("x", False)
    assert (tmp_path / "a").is_dir()


# ---------------------------------------------------------------- going


def test_what_nobody_uses_for_too_long_ends(make_world: MakeWorld) -> None:
    world = make_world(idle_s=60)
    world.ask()
    (process,) = world.waiting()
    world.now_s = 59.0
    world.pool.tend()
    assert process.is_running()
    world.now_s = 60.0
    world.pool.tend()
    assert not process.is_running()


def test_when_memory_is_short_warm_ones_go_first_and_none_are_started(make_world: MakeWorld) -> None:
    world = make_world()
    for model in ("one", "two"):
        world.ask(model=model)
    processes = world.waiting()
    world.left_bytes = SPARE_BYTES - 1
    assert world.ask(model="three") == ("hello", False)
    assert not any(process.is_running() for process in processes)
    assert world.waiting() == []
    world.left_bytes = SPARE_BYTES
    world.ask(model="three")
    assert world.pool.waiting == 1


def test_once_it_has_stopped_nothing_waits_and_runs_go_on(make_world: MakeWorld) -> None:
    world = make_world()
    world.ask()
    (process,) = world.waiting()
    run = world.start()
    world.runs.rest()
    assert run.collect().output == "hello"
    assert world.ask() == ("hello", False)
    world.pool.close()
    assert not process.is_running()
    assert world.waiting() == []


def test_no_file_descriptor_is_lost(make_world: MakeWorld) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    world = make_world()
    world.ask()
    world.ask()
    before = count()
    for _ in range(10):
        assert world.ask()[1]
    assert count() == before


# ---------------------------------------------------------------- the thread


@pytest.fixture
def watched(make_world: MakeWorld) -> World:
    """A pool whose own thread looks after it."""
    world = make_world()
    world.pool.open()
    return world


def test_its_thread_starts_them_and_sees_one_die(watched: World) -> None:
    watched.start().collect()
    wait_until(lambda: watched.pool.waiting == 1)
    (process,) = watched.waiting()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: watched.pool.waiting == 0)
    wait_until(lambda: not process.is_running())


def test_its_thread_ends_them_when_it_stops(watched: World) -> None:
    watched.start().collect()
    wait_until(lambda: watched.pool.waiting == 1)
    (process,) = watched.waiting()
    watched.pool.stop()
    with suppress(psutil.NoSuchProcess):
        process.wait(10)
    assert watched.pool.waiting == 0
