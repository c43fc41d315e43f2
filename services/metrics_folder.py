"""The folder in which the workers of a server count together, for prometheus_client's multiprocess mode.

It lies in memory where there is such a place: the files are mapped, and a write to a mapped file on a full disk kills
the process.  The name holds the instance, by which what a killed server has left is known.
"""

import os
import shutil
from pathlib import Path

from services.descendants import instance_id, is_alive

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for it, when it is imported and at each scrape."""
MEMORY = Path("/dev/shm")  # noqa: S108 - our folder in it is for this user alone
PREFIX = "clinvk-metrics-"


def make_metrics_folder(home: Path) -> None:
    """Make the folder of this instance, and let prometheus_client know of it; before that is imported.

    Raises OSError.
    """
    place = MEMORY if os.access(MEMORY, os.W_OK) else home
    folder = place / f"{PREFIX}{instance_id()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ[VARIABLE] = str(folder)


def forget_worker(pid: int) -> None:
    """A worker has ended: what it said of its present state counts no more; what it has counted does."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - it looks for the folder at once

    if VARIABLE in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def remove_metrics_folder() -> None:
    """Remove it, when the server ends."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if folder.name == f"{PREFIX}{instance_id()}":
        shutil.rmtree(folder, ignore_errors=True)


def remove_dead_metrics_folders(home: Path) -> None:
    """Remove those of servers that no longer live."""
    for place in (MEMORY, home):
        for folder in place.glob(f"{PREFIX}*"):
            if not is_alive(folder.name.removeprefix(PREFIX)):
                shutil.rmtree(folder, ignore_errors=True)  # another user's stays
