"""Starts ``clinvk serve`` without its imports: a process that has them all forks for each server.

A server's imports take most of a second, and tests start many servers.  What differs from a start by exec: the
command line and the environment that others can read of the process are the nursery's.  So whoever looks at these, or
changes the program, starts it by exec.

The process is no child of the main thread, where the engine would take it for an orphan of its own.
"""

import atexit
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

LOADED = ("app.cli", "app.server", "app.worker", "app.factory", "gunicorn.app.base", "gunicorn.arbiter")
REQUEST_BYTES = 1 << 16
KILLED = -int(signal.SIGKILL)


class Nursling:
    """A process that the nursery has forked, with the part of :class:`subprocess.Popen` that tests use."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = os.pidfd_open(pid)
        self._status = status

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code.  Raises subprocess.TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def _ended(self, timeout_s: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._status, select.POLLIN)
            if poll.poll(None if timeout_s is None else timeout_s * 1000):
                told = os.read(self._status, 16)
                self.returncode = int(told) if told else KILLED  # the nursery itself has gone
                os.close(self._status)
                os.close(self._pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._over = threading.Event()
        started = threading.Event()
        self._thread = threading.Thread(target=self._keep, args=(theirs, started), name="nursery", daemon=True)
        self._thread.start()
        started.wait()

    def _keep(self, theirs: socket.socket, started: threading.Event) -> None:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=Path(__file__).resolve().parents[2],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        started.set()
        process.wait()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Nursling:
        """Run ``clinvk`` with these arguments in that folder; what it prints goes into the log."""
        request = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder)}
        told, tells = os.pipe()
        try:
            with log.open("ab") as printed:
                socket.send_fds(self._socket, [json.dumps(request).encode()], [printed.fileno(), tells])
            return Nursling(int(self._socket.recv(16)), told)
        finally:
            os.close(tells)

    def close(self) -> None:
        """Let it end."""
        self._socket.close()
        self._thread.join()


@cache
def nursery() -> Nursery:
    """The one of this process; it ends with it."""
    made = Nursery()
    atexit.register(made.close)
    return made


# ---------------------------------------------------------------------- in the process itself


def serve(requests: socket.socket) -> list[str]:
    """Fork for each request until there are no more; returns in each child, with its arguments."""
    children: dict[int, tuple[int, int]] = {}  # pidfd → pid, where its end is told
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in children:
                poll.unregister(fd)
                _bury(fd, *children.pop(fd))
                continue
            data, fds, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 2)
            if not data:
                raise SystemExit(0)
            log, tells = fds
            pid = os.fork()
            if pid == 0:
                for other, (_, told) in children.items():
                    os.close(other)
                    os.close(told)
                requests.close()
                os.close(tells)
                return _become(json.loads(data), log)
            os.close(log)
            pidfd = os.pidfd_open(pid)
            children[pidfd] = (pid, tells)
            poll.register(pidfd, select.POLLIN)
            requests.send(str(pid).encode())


def _bury(pidfd: int, pid: int, tells: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):
        os.write(tells, str(code).encode())
    os.close(tells)
    os.close(pidfd)


def _become(request: dict[str, object], log: int) -> list[str]:
    """Be the process that was asked for, as far as one can without an exec."""
    arguments, environment = request["arguments"], request["environment"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return arguments


def main() -> int:
    """Load everything, and wait for what is asked for."""
    for name in LOADED:
        importlib.import_module(name)
    from app.cli import main as clinvk

    arguments = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = ["clinvk", *arguments]
    return clinvk(arguments)


if __name__ == "__main__":
    sys.exit(main())
