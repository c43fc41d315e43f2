"""Prompts that are remembered: each is recorded, and continues the CLI's own session when it names one.

A session that cannot be recorded does not keep a prompt from running: the answer's warnings say so.
"""

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from services.backends.base import Backend, Options
from services.deadline import Deadline
from services.errors import ClinvkError, ErrorCode
from services.estimate import tokens_of_messages
from services.events import Event, Failed, Message, Outcome
from services.planning import Kept, Plan
from services.prompts import Prompt
from services.run import Result, new_run_id
from services.running import Around, Runner, Running, StandIn
from services.sessions.errors import StoreError
from services.sessions.records import Claim, Ending, NewSession, Page, Session, Status, Turn, TurnText
from services.sessions.store import SessionStore
from services.settings import SessionSettings
from services.stop_sequences import StopAt

TITLE_CHARS = 80
TAG = "api"
UNFINISHED = Failed(ErrorCode.CANCELED, "canceled", -1)

Store = Callable[[], SessionStore]
"""Gives the store, or raises StoreError when it cannot be used."""


class SessionRuns:
    """Starts prompts in sessions, and does what else can be done to a session.  Every method may raise ClinvkError.

    ``folder`` is where the private folders of sessions lie; ``worker`` names this worker in claims.
    """

    def __init__(
        self,
        runs: Runner,
        backends: Mapping[str, Backend],
        *,
        store: Store,
        settings: SessionSettings,
        folder: Path,
        worker: str,
    ) -> None:
        self._runs = runs
        self._backends = backends
        self._store = store
        self._settings = settings
        self._folder = folder.resolve()  # where processes start must not lead elsewhere
        self._worker = worker

    # ------------------------------------------------------------------ prompts

    def start(self, prompt: Prompt, *, client_fd: int | None = None, deadline: Deadline | None = None) -> Running:
        """Start a prompt: ephemeral, in a new session, or in the one that it names."""
        caller = _Caller(client_fd, deadline)
        if prompt.session_id:
            return self._continue(prompt, caller)
        if prompt.ephemeral:
            plan = self._runs.check(prompt)
            if plan.prompt.dry_run:
                return StandIn.dry_run(plan, self._runs.dry_run(plan))
            return self._run(plan, caller)
        return self._begin(prompt, caller)

    def _begin(self, prompt: Prompt, caller: "_Caller") -> Running:
        folder = "" if prompt.workdir else str(self._folder / uuid.uuid4().hex)
        plan = self._runs.check(prompt, Kept(folder))
        claim = Claim(new_run_id(), self._worker)
        new = self._new_session(prompt, plan.options, private=bool(folder))
        if plan.prompt.dry_run:
            dry = StandIn.dry_run(plan, self._runs.dry_run(plan))
            try:
                dry.session_id = self._store().create(replace(new, working_dir=prompt.workdir, private_folder=False)).id
            except StoreError as error:
                dry.warnings = (*dry.warnings, _not_recorded(error))
            return dry
        _make(folder)
        try:
            run = self._run(plan, caller, claim.run_id)
        except BaseException:
            _remove(folder)
            raise
        if folder and run.workdir != folder:  # the process was started in advance, and brings the folder
            _remove(folder)
            folder = run.workdir
            new = replace(new, working_dir=folder)
        try:
            session = self._store().create(new, claim)
        except StoreError as error:
            return SessionRun(run, prompt, None, self._settings, warning=_not_recorded(error), folder=folder)
        return SessionRun(run, prompt, self._recording(prompt, session, claim), self._settings)

    def _continue(self, prompt: Prompt, caller: "_Caller") -> Running:
        store = self._store()
        with _naming(prompt.at("session_id")):
            session = store.get(prompt.session_id, prompt.owner)
        backend = self._check_continuable(prompt, session)
        plan = self._next_turn(prompt, session, backend)
        if plan.prompt.dry_run:
            return StandIn.dry_run(plan, self._runs.dry_run(plan))
        claim = Claim(new_run_id(), self._worker)
        with _naming(prompt.at("session_id")):
            claimed = store.resume(session.id, prompt.owner, claim)
        try:
            if claimed.turn_count != session.turn_count:  # another turn came between: what it was planned on is old
                plan = self._next_turn(prompt, replace(claimed, last_used=0.0), backend)
            run = self._run(plan, caller, claim.run_id)
        except BaseException:
            with suppress(StoreError):
                store.release(session.id, claim.run_id)
            raise
        return SessionRun(run, prompt, self._recording(prompt, claimed, claim), self._settings)

    def _next_turn(self, prompt: Prompt, session: Session, backend: Backend) -> Plan:
        asked = replace(
            prompt,
            messages=(),  # the CLI has them
            model=prompt.model or session.model,
            workdir=self._workdir(prompt, session, backend),
        )
        return self._runs.check(asked, Kept(session.working_dir, session.cli_session_id, session.last_used))

    def prepare(self, prompt: Prompt) -> None:
        """Start the process of a prompt like this in advance, which is ephemeral or begins a session."""
        self._runs.prepare(
            self._runs.check(prompt, None if prompt.ephemeral else Kept(str(self._folder / "a-session")))
        )

    def _recording(self, prompt: Prompt, session: Session, claim: Claim) -> "_Recording":
        return _Recording(self._store, session, claim, partial(self._prepare, prompt))

    def _prepare(self, prompt: Prompt, session: Session) -> None:
        """A turn has succeeded: let the next one like it find its CLI there, if the configuration says so."""
        backend = self._backends[session.backend]
        if not (self._settings.keep_warm_secs and backend.can_resume and session.cli_session_id):
            return
        with suppress(ClinvkError):  # whoever asks for it will be told
            self._runs.prepare(self._next_turn(prompt, session, backend), self._settings.keep_warm_secs)

    def _run(self, plan: Plan, caller: "_Caller", run_id: str = "") -> Running:
        """Start the CLI; its answer ends at a stop sequence, if there are any."""
        run = self._runs.start(plan, run_id=run_id, client_fd=caller.client_fd, deadline=caller.deadline)
        prompt = plan.prompt
        if not prompt.stop:
            return run
        told = (plan.options.system_prompt, *(message.text for message in prompt.messages), prompt.text)
        return StopAt(run, prompt.stop, input_tokens=tokens_of_messages(told))

    def _check_continuable(self, prompt: Prompt, session: Session) -> Backend:
        if session.backend != prompt.backend:
            message = f"session {session.id} is one of {session.backend}, not of {prompt.backend}"
            raise ClinvkError.field(prompt.at("backend"), message)
        backend = self._backends.get(session.backend)
        if backend is None or not backend.can_resume:
            message = f"{session.backend} cannot continue a session"
            raise ClinvkError.field(prompt.at("session_id"), message)
        return backend

    def _workdir(self, prompt: Prompt, session: Session, backend: Backend) -> str:
        """Where the turn works, as the request would name it; "" for the session's private folder."""
        if prompt.workdir and backend.folder_bound and Path(prompt.workdir).resolve() != Path(session.working_dir):
            message = f"{backend.name} can continue a session only in its own folder, {session.working_dir}"
            raise ClinvkError.field(prompt.at("workdir"), message)
        if prompt.workdir:
            return prompt.workdir
        return "" if session.private_folder else session.working_dir

    def _new_session(self, prompt: Prompt, options: Options, *, private: bool) -> NewSession:
        return NewSession(
            backend=prompt.backend,
            owner=prompt.owner,
            working_dir=options.workdir,
            private_folder=private,
            model=options.model,
            initial_prompt=prompt.text,
            tags=(*self._settings.default_tags, TAG),
            title=(prompt.text.strip().splitlines() or [""])[0][:TITLE_CHARS],
            metadata=prompt.metadata,
        )

    # ------------------------------------------------------------------ records

    def page(self, owner: str, *, backend: str, status: Status | None, limit: int, offset: int) -> Page:
        """A page of an owner's sessions, the newest first."""
        return self._store().page(owner, backend=backend, status=status, limit=limit, offset=offset)

    def get(self, session_id: str, owner: str) -> Session:
        """One session, by its id or a unique prefix."""
        return self._store().get(session_id, owner)

    def turns(self, session_id: str, owner: str) -> tuple[Turn, ...]:
        """The turns that were kept."""
        return self._store().turns(session_id, owner)

    def delete(self, session_id: str, owner: str) -> tuple[Session, bool]:
        """Remove a session; the second value says whether the CLI's own copy is gone as well."""
        removed = self._store().delete(session_id, owner)
        session = removed.session
        forgotten = self._forget(session)
        _remove(removed.folder)
        return session, forgotten

    def _forget(self, session: Session) -> bool:
        backend = self._backends.get(session.backend)
        if session.cli_session_id:
            self._runs.drop(session.backend, session.cli_session_id)
        options = _options_of(session)
        errand = backend.forget(options) if backend is not None and session.cli_session_id else None
        if errand is None:
            return not session.cli_session_id
        try:
            outcome, _ = self._runs.perform(Prompt(session.backend, "", owner=session.owner), options, errand)
        except ClinvkError:
            return False
        return not isinstance(outcome, Failed)

    def fork(self, session_id: str, owner: str) -> Session:
        """A session that goes on from where this one stands now, apart from it."""
        session = self._store().get(session_id, owner)
        backend = self._backends.get(session.backend)
        options = _options_of(session)
        errand = backend.fork(options) if backend is not None and session.cli_session_id else None
        if errand is None:
            message = f"{session.backend} cannot copy a session"
            if not session.cli_session_id:
                message = f"session {session.id} has nothing to copy: no turn of it has succeeded"
            raise ClinvkError.field("session_id", message)
        claim = Claim(new_run_id(), self._worker)
        store = self._store()
        store.resume(session.id, owner, claim)
        try:
            outcome, copy = self._runs.perform(Prompt(session.backend, "", owner=owner), options, errand)
        finally:
            with suppress(StoreError):
                store.release(session.id, claim.run_id)
        if isinstance(outcome, Failed):
            raise ClinvkError(outcome.code, outcome.message, ran=True, exit_code=outcome.exit_code)
        return store.create(
            NewSession(
                backend=session.backend,
                owner=owner,
                working_dir=session.working_dir,
                private_folder=session.private_folder,
                cli_session_id=copy,
                model=session.model,
                initial_prompt=session.initial_prompt,
                tags=session.tags,
                title=session.title,
                metadata=session.metadata,
                parent_id=session.id,
            )
        )

    def remove_unused(self, before: float) -> int:
        """Remove the sessions last used before a time (Unix seconds); how many there were."""
        count = 0
        for removed in self._store().remove_unused(before):
            self._forget(removed.session)
            _remove(removed.folder)
            count += 1
        return count

    def remove_lost_folders(self, before: float) -> int:
        """Remove private folders that no session knows, as a killed server leaves them; how many there were.

        Only those that nothing came to or went from since a time (Unix seconds): a run makes its folder before it is
        recorded.
        """
        if not self._folder.is_dir():
            return 0
        old = [str(path) for path in self._folder.iterdir() if path.stat().st_mtime < before]
        lost = set(old) - self._store().own_folders(old) if old else set()
        for folder in lost:
            _remove(folder)
        return len(lost)


@dataclass(frozen=True, slots=True)
class _Caller:
    client_fd: int | None
    deadline: Deadline | None


@dataclass(frozen=True, slots=True)
class _Recording:
    """Where a run is recorded; ``succeeded`` is called with the session after a turn that has."""

    store: Store
    session: Session
    claim: Claim
    succeeded: Callable[[Session], None]

    def finish(self, ending: Ending) -> None:
        """Record how it ended.  Raises StoreError, also when the session was taken from the run meanwhile."""
        session = self.store().finish(self.session.id, self.claim.run_id, ending)
        if session is None:
            raise StoreError(f"session {self.session.id} was marked as interrupted while the run was going on")
        if not ending.error:
            self.succeeded(session)


class SessionRun(Around):
    """A run whose end is recorded before anybody is told of it."""

    def __init__(
        self,
        run: Running,
        prompt: Prompt,
        recording: _Recording | None,
        settings: SessionSettings,
        *,
        warning: str = "",
        folder: str = "",
    ) -> None:
        super().__init__(run)
        self._prompt = prompt
        self._recording = recording
        self._settings = settings
        self._warning = warning
        self._folder = folder
        self._pieces: list[str] = []
        self._finished = False

    @property
    def session_id(self) -> str:
        """The session it is recorded in; "" when it could not be."""
        return self._recording.session.id if self._recording is not None else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the CLI cannot honour, and that nothing was recorded if that is so."""
        return (*self._run.warnings, self._warning) if self._warning else self._run.warnings

    def batches(self) -> Iterator[Sequence[Event]]:
        """The events as they come; the outcome only once it is recorded."""
        for batch in self._run.batches():
            if self._settings.store_turns:
                self._pieces += [event.text for event in batch if isinstance(event, Message)]
            if batch and isinstance(outcome := batch[-1], Outcome):
                self._finish(outcome, "".join(self._pieces))
            yield batch

    def collect(self) -> Result:
        """Run to the end, and record it."""
        result = self._run.collect()
        self._finish(result.outcome, result.output)
        return result

    def close(self) -> None:
        """End it, record it and give everything back.  Idempotent."""
        self._run.close()
        self._finish(UNFINISHED, "".join(self._pieces))

    def _finish(self, outcome: Outcome, output: str) -> None:
        if self._finished:
            return
        self._finished = True
        _remove(self._folder)
        if self._recording is None:
            return
        ending = Ending(cost_usd=outcome.cost_usd, cli_session_id=self._run.cli_session_id, model=self._run.model)
        if isinstance(outcome, Failed):
            expired = outcome.code is ErrorCode.SESSION_EXPIRED
            ending = replace(ending, error=outcome.message or outcome.code.value, expired=expired)
        if self._settings.store_token_usage:
            ending = replace(ending, usage=outcome.usage)
        if self._settings.store_turns:
            ending = replace(ending, text=TurnText(self._prompt.text, output))
        try:
            self._recording.finish(ending)
        except StoreError as error:
            self._warning = _not_recorded(error)


@contextmanager
def _naming(location: str) -> Iterator[None]:
    """Let an error about a session name the field that named the session."""
    try:
        yield
    except StoreError:
        raise
    except ClinvkError as error:
        raise ClinvkError.field(location, error.message, error.code) from error


def _options_of(session: Session) -> Options:
    return Options(
        session.working_dir,
        model=session.model,
        keep_session=True,
        resume=session.cli_session_id,
        private_folder=session.private_folder,
    )


def _not_recorded(error: StoreError) -> str:
    return f"this turn was not recorded: {error.message}"


def _make(folder: str) -> None:
    if not folder:
        return
    try:
        Path(folder).mkdir(mode=0o700, parents=True)
    except OSError as error:
        message = f"the folder of the session cannot be made: {error.strerror}"
        raise ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, message) from error


def _remove(folder: str) -> None:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
