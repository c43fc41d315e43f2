"""How much memory is left, on this machine or in the control group (cgroups(7), version 2) that we are in."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
OWN_GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def available_bytes(meminfo: Path = MEMINFO, own_group: Path = OWN_GROUP, groups: Path = GROUPS) -> int | None:
    """What can still be had without swapping (proc_meminfo(5), MemAvailable); None where nobody says."""
    return min((*_of_machine(meminfo), *_of_groups(own_group, groups)), default=None)


def _of_machine(meminfo: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_groups(own_group: Path, groups: Path) -> Iterator[int]:
    """What is left in our group and in each of those around it that has a limit."""
    try:
        lines = own_group.read_text().splitlines()
    except OSError:
        return
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = groups / own
    for group in (folder, *folder.parents):
        if not group.is_relative_to(groups):
            return
        with suppress(OSError, ValueError):  # no limit here: no such file, or "max"
            limit = int((group / "memory.max").read_text())
            used = int((group / "memory.current").read_text())
            yield max(0, limit - used + _cache(group))


def _cache(group: Path) -> int:
    """What counts as used but is given back when it is asked for: files that nobody has read of late."""
    for line in (group / "memory.stat").read_text().splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0
