"""What the processes of a server do, seen from /proc: which CLIs wait, what they take, and whether all is quiet."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.harness import Server

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""The kernel counts processor time in steps of this: one step may be anybody's."""
PATIENCE_S = 60.0
SLEEPS = "S"


@dataclass(frozen=True, slots=True)
class Stat:
    """A line of /proc/PID/stat.  ``reaped_s`` is what children took that have ended, from their start on."""

    pid: int
    parent: int
    name: str
    state: str
    cpu_s: float
    reaped_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """How it was at one moment: the trees of the CLIs that the workers have started, by the pid of each, and the

    processor time so far of the workers and of the CLIs that have ended (``server_cpu_s``) and of those that live.
    """

    trees: Mapping[int, tuple[Stat, ...]]
    server_cpu_s: float
    clis_cpu_s: float

    @property
    def busy(self) -> bool:
        """Whether a CLI computes right now, or waits for a disk."""
        return any(stat.state != SLEEPS for tree in self.trees.values() for stat in tree)

    def is_quiet_since(self, before: "Moment") -> bool:
        """Whether the same CLIs were there, and nothing was computed."""
        took_s = self.server_cpu_s + self.clis_cpu_s - before.server_cpu_s - before.clis_cpu_s
        return not self.busy and self.trees.keys() == before.trees.keys() and took_s < 1.5 * TICK_S


def parse_stat(line: str) -> Stat:
    """Read a line of /proc/PID/stat; the name, in parentheses, may have any characters."""
    before, _, after = line.rpartition(")")
    pid, _, name = before.partition(" (")
    fields = after.split()
    own_s, reaped_s = ((int(fields[place]) + int(fields[place + 1])) * TICK_S for place in (11, 13))
    return Stat(int(pid), int(fields[1]), name, fields[0], own_s, reaped_s)


def all_stats() -> Iterator[Stat]:
    """Every process that there is."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with suppress(OSError):
                yield parse_stat((place / "stat").read_text())


def tree_of(pid: int, children: Mapping[int, list[Stat]]) -> list[Stat]:
    """The descendants of a process."""
    return [stat for child in children.get(pid, ()) for stat in (child, *tree_of(child.pid, children))]


def children_by_parent() -> Mapping[int, list[Stat]]:
    """All processes, by the pid of their parents."""
    found: dict[int, list[Stat]] = {}
    for stat in all_stats():
        found.setdefault(stat.parent, []).append(stat)
    return found


def moment(server: Server) -> Moment:
    """How it is now."""
    children = children_by_parent()
    workers = children.get(server.process.pid, [])
    clis = [cli for worker in workers for cli in children.get(worker.pid, ())]
    trees = {cli.pid: (cli, *tree_of(cli.pid, children)) for cli in clis}
    clis_cpu_s = sum(stat.cpu_s + stat.reaped_s for tree in trees.values() for stat in tree)
    return Moment(trees, sum(worker.cpu_s + worker.reaped_s for worker in workers), clis_cpu_s)


def pss_mb(pids: Iterable[int]) -> float:
    """Proportional memory of processes: what is shared is divided among those who share it."""
    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            total += psutil.Process(pid).memory_full_info().pss
    return total / 1e6


def memory_of_clis(server: Server) -> dict[int, float]:
    """The memory of each CLI with its descendants, by its pid, in MB."""
    return {pid: pss_mb(stat.pid for stat in tree) for pid, tree in moment(server).trees.items()}


def memory_of_tree(pid: int) -> float:
    """The memory of a process with its descendants, in MB."""
    return pss_mb([pid, *(stat.pid for stat in tree_of(pid, children_by_parent()))])


def wait_until_quiet(server: Server, waiting: int | None, quiet_s: float, *, every_s: float = 0.02) -> Moment:
    """Wait until so many CLIs wait (None: whatever number), and nothing has been computed for so long.

    TimeoutError when that does not come.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    begun, began_s = moment(server), time.monotonic()
    while time.monotonic() < give_up_s:
        time.sleep(every_s)
        now = moment(server)
        if waiting not in (None, len(now.trees)) or not now.is_quiet_since(begun):
            begun, began_s = now, time.monotonic()
        elif time.monotonic() - began_s >= quiet_s:
            return now
    raise TimeoutError(f"{len(begun.trees)} CLIs, not {waiting}, or not quiet for {quiet_s} s")
