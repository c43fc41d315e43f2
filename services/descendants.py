"""Finding and ending processes that a run has started, wherever they went.

A process belongs to a run when it descends from the run's CLI, when it carries the run's marker in its environment
(which also finds what was re-parented or moved to a session of its own), or when it is in the CLI's own session.
The server's processes are *child subreapers* (prctl(2)), so that what loses its parent becomes our child: a
process that emptied its environment and left its session is found there.

Linux only: it reads /proc.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import cache

import psutil

MARKER = "CLINVK_RUN_ID"
"""The environment variable that marks a run's processes: ``<instance>.<worker pid>.<run id>``."""

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
PR_GET_CHILD_SUBREAPER = 37
_RESCAN_S = 0.005

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphans below this process its children.  Not inherited by fork: call it in each process."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def is_subreaper() -> bool:
    """Whether orphans below this process become its children."""
    answer = ctypes.c_int(0)
    _libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


@cache
def instance_id() -> str:
    """The name of this server: pid and start time of the process that asked first; forked workers inherit it."""
    return f"{os.getpid()}-{start_ticks(os.getpid())}"


def worker_id() -> str:
    """The name of this worker: its instance and its pid.  It begins its runs' markers and names its folder."""
    return f"{instance_id()}.{os.getpid()}"


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks after boot (proc_pid_stat(5), field 22)."""
    with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - hot, and not a path anybody names
        return int(stat.read().rpartition(b")")[2].split()[19])


def is_alive(instance: str) -> bool:
    """Whether the server with this instance id still runs."""
    pid, _, ticks = instance.partition("-")
    try:
        return start_ticks(int(pid)) == int(ticks)
    except (OSError, ValueError):
        return False


def marker_of(pid: int) -> str:
    """The marker in a process's environment, "" when it has none or cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123
            data = environ.read()
    except OSError:
        return ""
    prefix = MARKER.encode() + b"="
    for entry in data.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode("ascii", "replace")
    return ""


def marked(matches: Callable[[str], bool]) -> list[psutil.Process]:
    """Every process, but this one, whose marker matches."""
    own = os.getpid()
    pids = (pid for pid in psutil.pids() if pid != own)
    return processes(pid for pid in pids if (marker := marker_of(pid)) and matches(marker))


def processes(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes with these pids, as far as they still exist."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def tree(pid: int) -> list[psutil.Process]:
    """All descendants of a process, by parentage."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def adopted(known: Collection[int]) -> list[int]:
    """Children of this process that it did not start: orphans that came to it, dead ones too.

    The kernel gives an orphan to the first live thread of its reaper, which is the main one; the CLIs that other
    threads have started are not in that thread's list, so that this is one short read.
    """
    if not is_subreaper():
        return []
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children", "rb", buffering=0) as children:  # noqa: PTH123
            pids = [int(pid) for pid in children.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        pids = [child.pid for child in psutil.Process().children()]
    return [pid for pid in pids if pid not in known]


def reap(pid: int) -> bool:
    """Collect a dead child; whether it was dead."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to each that is still the process it was."""
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(signal.SIGKILL)


def end_all(find: Callable[[], list[psutil.Process]], timeout_s: float = 1.5) -> int:
    """Kill what ``find`` finds until it finds nothing alive, at most for ``timeout_s``; how many were killed."""
    give_up = time.monotonic() + timeout_s
    killed: set[int] = set()
    while True:
        found = [process for process in find() if _runs(process)]
        if not found or time.monotonic() > give_up:
            return len(killed)
        with_children = {process.pid: process for one in found for process in (one, *tree(one.pid))}
        kill(with_children.values())
        killed.update(with_children)
        time.sleep(_RESCAN_S)  # SIGKILL takes a moment; psutil's waiting would take exit codes from their owners


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_processes_of(instance: str, worker_pid: int | None = None, *, keep: Collection[int] = ()) -> int:
    """End everything that a dead worker (or all of an instance's workers) left behind; how many there were.

    Called in the arbiter, to which the orphans come: of its children, those in ``keep`` are its living workers.
    """
    prefix = f"{instance}." if worker_pid is None else f"{instance}.{worker_pid}."

    def left_behind() -> list[psutil.Process]:
        unmarked = [pid for pid in adopted(keep) if not marker_of(pid)] if keep else []
        return [*marked(lambda marker: marker.startswith(prefix)), *processes(unmarked)]

    count = end_all(left_behind)
    for pid in adopted(keep) if keep else ():
        reap(pid)
    return count


def end_dead_instances() -> int:
    """End what servers of this user that no longer live have left running; how many there were."""
    alive: dict[str, bool] = {}

    def of_the_dead(marker: str) -> bool:
        instance = marker.partition(".")[0]
        if instance not in alive:
            alive[instance] = is_alive(instance)
        return not alive[instance]

    return end_all(lambda: marked(of_the_dead))
