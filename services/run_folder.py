"""The private folder of a run, and what becomes of the folders of workers that have died."""

import glob
import os
import re
import shutil
import stat
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.backends.base import InRun, PromptText
from services.descendants import instance_id, is_alive

RUNS_FOLDER = "runs"
"""In the home folder: a folder per worker, and in it one per run."""

WORK, TEMPORARY = "work", "tmp"
"""The names of the folder that a run works in, and of its TMPDIR."""
SPARE = "spare-"
"""How the name of a folder begins that waits for a run."""
MOST_SPARES = 64
AS_MADE = stat.S_IFDIR | 0o700
SANE_SESSION_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Spares:
    """Folders that runs have left as they had found them, for others.

    Making a folder and removing it is most of what a short run costs on a disk: a file system gives away no inode that
    it has just got back, and looks for another the longer, the more there are of these.  Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._paths: deque[str] = deque()

    def take(self, path: str) -> bool:
        """Let one be the folder at this path, which no run has ever worked at; whether there was one."""
        try:
            os.rename(self._paths.pop(), path)  # noqa: PTH104 - for every run, as all that follows
        except (IndexError, OSError):
            return False
        return True

    def put(self, folder: "RunFolder") -> bool:
        """Keep one of which nobody can see that it was used; whether it is kept."""
        if len(self._paths) >= MOST_SPARES or not folder.is_as_new():
            return False
        place, _, name = folder.path.rpartition("/")
        path = f"{place}/{SPARE}{name}"
        try:
            os.rename(folder.path, path)  # noqa: PTH104
        except OSError:
            return False
        self._paths.append(path)
        return True


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's private folder: its files, an empty folder to work in, a TMPDIR."""

    path: str
    work: str
    temporary: str
    spares: Spares

    @classmethod
    def create(
        cls, path: str, files: Iterable[tuple[str, str | PromptText]], prompt: str, spares: Spares
    ) -> "RunFolder":
        """Make the folder (0700), or take one of the ``spares``, and write the files (0600) into it."""
        folder = cls(path, f"{path}/{WORK}", f"{path}/{TEMPORARY}", spares)
        if not folder.spares.take(path):
            for own in (path, folder.work, folder.temporary):
                os.mkdir(own, mode=0o700)  # noqa: PTH102
        for name, text in files:
            target = Path(path, name)
            target.touch(mode=0o600)
            target.write_text(folder.resolve(text, prompt), encoding="utf-8", newline="")
        return folder

    def resolve(self, value: str | InRun | PromptText, prompt: str) -> str:
        """The value, or what it stands for: a path in this folder, the prompt."""
        match value:
            case InRun(name):
                return f"{self.path}/{name}"
            case PromptText(before):
                return before + prompt
            case text:
                return text

    def is_as_new(self) -> bool:
        """Whether it is as it was made: empty, for nobody else, and nothing attached to it."""
        try:
            return all(
                sorted(os.listdir(path)) == names  # noqa: PTH208 - for every run
                and os.lstat(path).st_mode == AS_MADE
                and all(name.startswith("security.") for name in os.listxattr(path))  # these are the system's own
                for path, names in ((self.path, [TEMPORARY, WORK]), (self.work, []), (self.temporary, []))
            )
        except OSError:
            return False

    def remove(self) -> None:
        """Remove it with everything in it, or keep it for another run."""
        if self.spares.put(self):
            return
        try:  # most runs leave nothing in it, and looking for what there is takes longer than this
            for folder in (self.work, self.temporary, self.path):
                os.rmdir(folder)  # noqa: PTH106
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)


def remove_folder_of(folder: Path, worker_pid: int | None) -> None:
    """Remove the folder of this instance's dead worker, or those of all its workers."""
    for entry in folder.glob(f"{instance_id()}.{'*' if worker_pid is None else worker_pid}"):
        shutil.rmtree(entry, ignore_errors=True)


def remove_dead_folders(folder: Path) -> None:
    """Remove what workers that no longer live have left below the engine's folder."""
    with suppress(FileNotFoundError):
        for entry in folder.iterdir():
            if not is_alive(entry.name.partition(".")[0]):
                shutil.rmtree(entry, ignore_errors=True)


def remove_leftovers(home: str, patterns: Iterable[str], cli_session_id: str) -> None:
    """Remove what a CLI has left in its own home; see :class:`~services.backends.base.Spawn` for the patterns."""
    for pattern in patterns:
        if "{session}" in pattern and not SANE_SESSION_ID.fullmatch(cli_session_id):
            continue  # an id comes from the CLI, and might lead elsewhere
        own = pattern.replace("{session}", cli_session_id)
        if not glob.has_magic(own):
            _remove(f"{home}/{own}")
            continue
        for name in glob.iglob(own, root_dir=home, include_hidden=True):  # noqa: PTH207 - for every run
            path = f"{home}/{name}"
            _remove(path)
            if "*" in Path(pattern).parent.name:
                with suppress(OSError):  # it may be gone, or hold something else
                    Path(path).parent.rmdir()


def _remove(path: str) -> None:
    # every run comes here for each file that it might have left: one call when there is none
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def remove_empty_folders(home: Path, patterns: Iterable[str]) -> None:
    """Remove the folders in a CLI's own home that these patterns match and that nothing is in any more."""
    for pattern in patterns:
        for path in home.glob(pattern):
            with suppress(OSError):
                path.rmdir()
