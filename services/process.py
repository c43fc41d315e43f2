"""The one place that starts processes.

An :class:`Engine` (one per worker) starts CLIs; each :class:`Child` is a CLI with its pipes, used by the one thread
that asked for it through :meth:`Child.wait`: one poll over stdin, stdout, stderr, the end of the process, the client's
socket and a wake-up descriptor.  Nothing blocks elsewhere, and no thread is needed per pipe.

``select.poll`` is used directly because :mod:`selectors` cannot express POLLRDHUP, the one event that tells of a
client that went away without reading what it may have sent (a peek fails on pipelined bytes).
"""

import errno
import os
import select
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from services import descendants
from services.backends.base import Spawn
from services.deadline import Deadline
from services.descendants import MARKER, worker_id
from services.environment import find_program, secrets_of
from services.errors import ClinvkError, ErrorCode
from services.private_home import furnish
from services.run_folder import RunFolder, Spares

CHUNK_BYTES = 256 * 1024
STDERR_TAIL_BYTES = 4096
GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(slots=True)
class Wake:
    """What one :meth:`Child.wait` saw.  ``ended``: the process is gone and all it wrote has been read."""

    chunks: list[bytes] = field(default_factory=list)
    ended: bool = False
    client_gone: bool = False
    woken: bool = False


class Child:
    """A started CLI.  One thread waits and writes; :meth:`kill` may be called from any."""

    def __init__(self, engine: "Engine", popen: subprocess.Popen[bytes], marker: str, cwd: str) -> None:
        assert popen.stdin is not None
        assert popen.stdout is not None
        assert popen.stderr is not None
        self.pid = popen.pid
        self.cwd = cwd
        self.idle = False
        """Whether it waits for a prompt, so that nothing can be its doing."""
        self._engine = engine
        self._popen = popen
        self._marker = marker
        self._stdin: int | None = popen.stdin.fileno()
        self._stdout: int | None = popen.stdout.fileno()
        self._stderr: int | None = popen.stderr.fileno()
        for fd in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(fd, False)
        self._pidfd = os.pidfd_open(popen.pid)
        self._poll = select.poll()
        for fd in (self._stdout, self._stderr, self._pidfd):
            self._poll.register(fd, select.POLLIN)
        self._watched: set[int] = set()
        self._to_write = memoryview(b"")
        self._eof_due = False
        self._errors = b""
        self._reported_end = False

    # ------------------------------------------------------------------ talking

    def watch(self, fd: int, events: int) -> None:
        """Let :meth:`wait` return for this descriptor as well."""
        self._watched.add(fd)
        self._poll.register(fd, events)

    def unwatch(self) -> None:
        """Heed the watched descriptors no more: one that has told its news would tell it again and again."""
        for fd in self._watched:
            self._forget(fd)
        self._watched.clear()

    def write(self, data: bytes) -> None:
        """Queue bytes for stdin; they are written while waiting."""
        if data and self._stdin is not None:
            self._to_write = memoryview(bytes(self._to_write) + data if self._to_write else data)
            self._write_some()

    def close_stdin(self) -> None:
        """Close stdin once everything queued is written."""
        self._eof_due = True
        self._write_some()

    def _write_some(self) -> None:
        if self._stdin is None:
            return
        try:
            while self._to_write:
                self._to_write = self._to_write[os.write(self._stdin, self._to_write[:CHUNK_BYTES]) :]
        except BlockingIOError:
            self._poll.register(self._stdin, select.POLLOUT)
            return
        except BrokenPipeError:  # it reads no more; how it ends will tell why
            self._to_write = memoryview(b"")
            self._eof_due = True
        self._forget(self._stdin)
        if self._eof_due:
            self._stdin = None
            assert self._popen.stdin is not None
            with suppress(BrokenPipeError):
                self._popen.stdin.close()

    def wait(self, timeout_s: float, client_fd: int | None = None) -> Wake:
        """Sleep until something happens, at most for ``timeout_s``, and say what."""
        wake = Wake()
        exited = False
        for fd, events in self._poll.poll(max(0.0, timeout_s) * 1000):
            if fd == self._stdout:
                self._read_stdout(wake)
            elif fd == self._stderr:
                self._read_stderr()
            elif fd == self._stdin:
                self._write_some()
            elif fd == self._pidfd:
                exited = True
            elif fd == client_fd:
                wake.client_gone = bool(events & GONE)
            else:
                wake.woken = True
        if exited:
            self._drain(wake)
            wake.ended = True
        return wake

    def _read_stdout(self, wake: Wake) -> bool:
        assert self._stdout is not None
        try:
            data = os.read(self._stdout, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if data:
            wake.chunks.append(data)
            return True
        self._forget(self._stdout)
        self._stdout = None
        return False

    def _read_stderr(self) -> bool:
        assert self._stderr is not None
        try:
            data = os.read(self._stderr, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._errors = (self._errors + data)[-STDERR_TAIL_BYTES:]
            return True
        self._forget(self._stderr)
        self._stderr = None
        return False

    def _drain(self, wake: Wake) -> None:
        """Read what the ended process left in its pipes; a heir that holds them open is not waited for."""
        for _ in range(self._pipe_reads()):
            if self._stdout is None or not self._read_stdout(wake):
                break
        for _ in range(self._pipe_reads()):
            if self._stderr is None or not self._read_stderr():
                break

    def _pipe_reads(self) -> int:
        return 1 + (1 << 20) // CHUNK_BYTES  # a pipe holds 1 MiB at most (fs.pipe-max-size)

    def _forget(self, fd: int) -> None:
        with suppress(KeyError):
            self._poll.unregister(fd)

    @property
    def stderr_tail(self) -> str:
        """The last 4 KiB of what it wrote to stderr."""
        return self._errors.decode("utf-8", "replace").strip()

    # ------------------------------------------------------------------ ending

    @property
    def pidfd(self) -> int:
        """A descriptor that becomes readable when the process ends (pidfd_open(2))."""
        return self._pidfd

    def is_in_place(self) -> bool:
        """Whether the folder that it was started in is still what the folder's name leads to."""
        try:
            return os.readlink(f"/proc/{self.pid}/cwd") == self.cwd  # noqa: PTH115 - for every prompt
        except OSError:
            return False

    @property
    def exit_code(self) -> int | None:
        """How it ended (minus the signal when killed), None while it runs."""
        return self._popen.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the CLI itself."""
        self._popen.send_signal(number)

    def kill(self, also: list[psutil.Process] | None = None) -> None:
        """End the CLI and every process that it started, now.  From any thread, any number of times."""
        descendants.kill([*(also or ()), *descendants.tree(self.pid)])
        with suppress(ProcessLookupError):
            self._popen.kill()
        descendants.end_all(self._own_processes)
        self._popen.poll()
        self._engine.reap_adopted()

    def snapshot(self) -> list[psutil.Process]:
        """Its descendants now, to be killed later even if they hide in the meantime."""
        return descendants.tree(self.pid)

    def _own_processes(self) -> list[psutil.Process]:
        mine = descendants.marked(lambda marker: marker == self._marker)
        return [*mine, *descendants.processes(self._engine.orphans_of(self))]

    def sweep(self) -> None:
        """After it ended by itself: end what it left running.  Costs one short read when there is nothing."""
        if not self._engine.has_adopted():
            return
        if self._engine.orphans_of(self):
            descendants.end_all(self._own_processes)
        self._engine.reap_adopted()

    def owns(self, pid: int) -> bool:
        """Whether an orphan shows by its marker or its session that it belongs here."""
        if descendants.marker_of(pid) == self._marker:
            return True
        try:
            return os.getsid(pid) == self.pid
        except ProcessLookupError:
            return False

    def is_older_than(self, ticks: int) -> bool:
        """Whether it was there at a time (clock ticks since boot)."""
        try:
            return descendants.start_ticks(self.pid) <= ticks
        except OSError:  # it has been reaped meanwhile
            return False

    def close(self) -> None:
        """Make sure that everything is gone and closed.  Idempotent."""
        if self._pidfd < 0:
            return
        if self._popen.poll() is None:
            self.kill()
        else:
            self.sweep()
        self._engine.forget(self)
        os.close(self._pidfd)
        self._pidfd = -1
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self._popen.wait()


@contextmanager
def _pinned(folder: str) -> Iterator[str]:
    """A path of a folder that leads to it, whatever is put in the place of its name meanwhile.

    Raises ClinvkError ``workdir_not_allowed`` when the name, which was resolved, leads to another one by now.
    """
    try:
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        message = f"workdir: {folder} is no folder any more"
        raise ClinvkError(ErrorCode.WORKDIR_NOT_ALLOWED, message) from error
    try:
        path = f"/proc/self/fd/{fd}"  # for the child as well, until it has become the CLI
        if str(Path(path).readlink()) != folder:
            raise ClinvkError(ErrorCode.WORKDIR_NOT_ALLOWED, f"workdir: {folder} leads elsewhere by now")
        yield path
    finally:
        os.close(fd)


def _program(argv: list[str], environment: Mapping[str, str]) -> str:
    program = find_program(argv[0], environment)
    if program is None:
        raise ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, f"{argv[0]} is not installed or not executable")
    return program


def run_apart(argv: list[str], environment: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
    """Run a short command as :meth:`Engine.capture` does, in a process whose other children are none of ours.

    That is the arbiter, where an engine would take the workers for orphans of what it started.
    """
    try:
        popen = subprocess.Popen(  # noqa: S603 - an argv list, no shell
            argv,
            executable=_program(argv, environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, f"{argv[0]} cannot be started: {error.strerror}") from error
    with popen:
        try:
            output, told = popen.communicate(timeout=timeout_s)
            code = popen.returncode
        except subprocess.TimeoutExpired:
            os.killpg(popen.pid, signal.SIGKILL)
            code, output, told = -1, b"", b""
    return code, output.decode("utf-8", "replace"), told[-STDERR_TAIL_BYTES:].decode("utf-8", "replace")


class Engine:
    """Starts CLIs and knows those that live, in one worker.

    ``folder`` is made (0700) when it is missing; it holds a folder per worker, and that one private folder per run.
    """

    def __init__(self, folder: Path) -> None:
        self._live: dict[int, Child] = {}
        self._worker = worker_id()
        self._folder = folder / self._worker
        self._spares = Spares()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def start(
        self, program: str, spawn: Spawn, environment: Mapping[str, str], run_id: str, prompt: str = ""
    ) -> "StartedRun":
        """Start a run's process, which is at ``program``; the prompt is needed only where the spawn names it.

        Raises ClinvkError: ``backend_unavailable`` when the program cannot be started, ``workdir_not_allowed`` when its
        folder is gone.
        """
        folder = RunFolder.create(f"{self._folder}/{run_id}", spawn.files, prompt, self._spares)
        try:
            marker = f"{self._worker}.{run_id}"
            own = {name: folder.resolve(value, prompt) for name, value in spawn.environment}
            if spawn.home is not None:
                own[spawn.home.variable] = str(furnish(spawn.home, Path(folder.path, "home"), environment))
            full = {**environment, **own, "TMPDIR": folder.temporary, MARKER: marker}
            argv = [folder.resolve(arg, prompt) for arg in spawn.argv]
            if spawn.cwd:
                with _pinned(spawn.cwd) as path:
                    child = self._start(program, argv, full, spawn.cwd, marker, path_of_cwd=path)
            else:
                child = self._start(program, argv, full, folder.work, marker)
        except BaseException:
            folder.remove()
            raise
        child.write(spawn.opening)
        return StartedRun(child, folder, full)

    def _start(
        self,
        program: str,
        argv: list[str],
        environment: dict[str, str],
        cwd: str,
        marker: str,
        *,
        path_of_cwd: str = "",
    ) -> Child:
        try:
            popen = subprocess.Popen(  # noqa: S603 - an argv list, no shell; the prompt is not in it
                argv,
                executable=program,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=path_of_cwd or cwd,
                env=environment,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            if error.errno == errno.E2BIG:
                message = f"{argv[0]} gets the system prompt or the prompt as an argument, and it is too long for one"
                raise ClinvkError(ErrorCode.INVALID_REQUEST, message) from error
            message = f"{program} cannot be started: {error.strerror}"
            raise ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, message) from error
        child = Child(self, popen, marker, cwd)
        self._live[child.pid] = child
        return child

    def capture(self, argv: list[str], environment: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
        """Run a short command to its end: exit code, stdout, the tail of stderr; -1 when it took too long."""
        marker = f"{self._worker}.{uuid.uuid4().hex[:16]}"
        program = _program(argv, environment)
        child = self._start(program, argv, {**environment, MARKER: marker}, str(self._folder), marker)
        deadline = Deadline.after(timeout_s)
        output = bytearray()
        try:
            child.close_stdin()
            while not deadline.passed:
                wake = child.wait(deadline.remaining_s)
                output += b"".join(wake.chunks)
                if wake.ended:
                    code = child.exit_code
                    assert code is not None
                    return code, output.decode("utf-8", "replace"), child.stderr_tail
            return -1, output.decode("utf-8", "replace"), child.stderr_tail
        finally:
            child.close()

    def forget(self, child: Child) -> None:
        """The child has ended and is reaped."""
        self._live.pop(child.pid, None)

    def orphans_of(self, child: Child) -> list[int]:
        """The orphans that came to this process from a child's tree.

        One that bears no sign of its run (it emptied its environment and left its session) counts as the child's when
        no other living child can have started it.
        """
        found = []
        for pid in descendants.adopted(self._live.keys()):
            owner = next((other for other in list(self._live.values()) if other.owns(pid)), None)
            if owner is child or (owner is None and not self._others_older_than(pid, child)):
                found.append(pid)
        return found

    def _others_older_than(self, pid: int, child: Child) -> bool:
        try:
            born_ticks = descendants.start_ticks(pid)
        except OSError:
            return False
        busy = [other for other in list(self._live.values()) if other is not child and not other.idle]
        return any(other.is_older_than(born_ticks) for other in busy)

    def has_adopted(self) -> bool:
        """Whether any orphan has come to this process, whoever's, dead or alive."""
        return bool(descendants.adopted(self._live.keys()))

    def reap_adopted(self) -> None:
        """Collect orphans that have died with us as their parent."""
        for pid in descendants.adopted(self._live.keys()):
            descendants.reap(pid)

    def close(self) -> None:
        """End whatever still lives, and remove the run folders.  Idempotent."""
        for child in list(self._live.values()):
            child.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A child with its folder and its environment."""

    child: Child
    folder: RunFolder
    environment: Mapping[str, str] = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values of its environment that must not be shown."""
        return secrets_of(self.environment)
