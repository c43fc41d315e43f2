"""A process that waits for a prompt: what it fits, and whether it still does."""

import shutil
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from services.backends.base import PromptText, Spawn
from services.backends.login import LoginCheck
from services.planning import Plan, Planner
from services.process import StartedRun
from services.run_folder import remove_leftovers
from services.stamps import Stamp, stamp

PLACE = "/in-advance"
"""Stands for the folder of a session that has none yet: what is started in advance brings one."""


@dataclass(frozen=True, slots=True)
class Order:
    """What may be started in advance.  Equal orders are interchangeable.

    ``folders`` is where a process gets the folder that a session is to keep; "" where it works in its run's own.
    :data:`PLACE` stands for that folder in ``spawn``, and ``spawn_in`` puts a folder into it.  Nothing of any prompt is
    in an order, which outlives the run that it came from.

    ``turn`` is the turn of a conversation that it is for: the CLI's id of it, and when anything last happened to it,
    since a CLI may read the conversation when it starts; None for a conversation of its own.  ``idle_s`` is how long
    one may wait without use, None for as long as any.
    """

    owner: str
    backend: str
    program: str
    spawn: Spawn
    folders: str
    environment: Mapping[str, str] = field(compare=False, repr=False)
    login: LoginCheck | None = field(compare=False)
    spawn_in: Callable[[str], Spawn] = field(compare=False)
    turn: tuple[str, float] | None = None
    idle_s: float | None = field(default=None, compare=False)


def may_wait(plan: Plan) -> bool:
    """Whether a process for this plan can be started before there is a prompt, and still be as good as a fresh one.

    A CLI reads what is in its folder when it starts, so in a client's folder it must not be older than the prompt, but
    where it is one that goes on with a conversation, as it would if it had been left running.
    """
    spawn, options = plan.spawn, plan.options
    if plan.conversation is not None or not spawn.in_advance:
        return False
    if options.resume:
        if plan.kept is None or not plan.kept.as_of:
            return False
    elif options.workdir and not options.private_folder:
        return False
    return not any(isinstance(part, PromptText) for part in (*spawn.argv, *(text for _, text in spawn.files)))


@dataclass(eq=False, slots=True)
class Waiting:
    """A warm process: ``folder`` is that of the session to be, "" for none, ``stamp`` that of the ``watched`` files."""

    order: Order
    started: StartedRun
    folder: str
    watched: tuple[str, ...]
    stamp: Stamp

    @property
    def key(self) -> Hashable:
        """What it fits."""
        return self.order

    @property
    def group(self) -> str:
        """The backend's name."""
        return self.order.backend

    @property
    def idle_s(self) -> float | None:
        """How long it may wait without use."""
        return self.order.idle_s

    def is_good(self) -> bool:
        """Whether it still is what would be started now: alive, the same program and login, in its own folder."""
        return (
            self.started.child.exit_code is None
            and self.stamp == stamp(self.watched)
            and self.started.child.is_in_place()
        )

    def dismiss(self) -> bool:
        """Tell it that there will be no prompt; whether it can be told.

        To a CLI that has been told an opening, the end of its input is the end.  To another it might be the prompt, and
        one that waits on a conversation might write down that it has ended.
        """
        can_be_told = bool(self.order.spawn.opening) and self.order.turn is None
        if can_be_told:
            self.started.child.close_stdin()
        return can_be_told

    def end(self) -> None:
        """End it and remove what it has left."""
        self.started.child.close()
        self.started.folder.remove()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        remove_leftovers(self.order.environment.get("HOME", "/nonexistent"), self.order.spawn.leftovers, "")


def order_for(planner: Planner, plan: Plan, program: str, environment: Mapping[str, str]) -> Order | None:
    """What could have been started in advance for this plan; None when nothing could."""
    if not may_wait(plan):
        return None
    options = replace(plan.options, messages=())
    spawn_in = partial(planner.spawn_in, plan.backend, options)
    turn = (plan.kept.cli_session_id, plan.kept.as_of) if plan.kept is not None and options.resume else None
    new_folder = options.workdir if turn is None else ""
    return Order(
        owner=plan.prompt.owner,
        backend=plan.backend.name,
        program=program,
        spawn=spawn_in(PLACE) if new_folder else plan.spawn,
        folders=str(Path(new_folder).parent) if new_folder else "",
        environment=environment,
        login=plan.backend.login_check,
        spawn_in=spawn_in,
        turn=turn,
    )
