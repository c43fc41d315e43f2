"""The private folder of a run, and what becomes of the folders of workers that have died."""

import glob
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.backends.base import InRun, PromptText
from services.descendants import instance_id, is_alive

RUNS_FOLDER = "runs"
"""In the home folder: a folder per worker, and in it one per run."""

TEMPORARY = "tmp"
"""The name of a run's TMPDIR."""
SANE_SESSION_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's private folder: its files, an empty folder to work in, a TMPDIR."""

    path: str
    work: str
    temporary: str

    @classmethod
    def create(cls, path: str, files: Iterable[tuple[str, str | PromptText]], prompt: str) -> "RunFolder":
        """Make the folder (0700) and write the files (0600) into it."""
        folder = cls(path, f"{path}/work", f"{path}/{TEMPORARY}")
        for own in (path, folder.work, folder.temporary):
            os.mkdir(own, mode=0o700)  # noqa: PTH102 - for every run
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

    def remove(self) -> None:
        """Remove it with everything in it."""
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


def remove_leftovers(home: Path, patterns: Iterable[str], cli_session_id: str) -> None:
    """Remove what a CLI has left in its own home; see :class:`~services.backends.base.Spawn` for the patterns."""
    for pattern in patterns:
        if "{session}" in pattern and not SANE_SESSION_ID.fullmatch(cli_session_id):
            continue  # an id comes from the CLI, and might lead elsewhere
        own = pattern.replace("{session}", cli_session_id)
        if not glob.has_magic(own):
            _remove(f"{home}/{own}")
            continue
        for path in home.glob(own):
            _remove(str(path))
            if "*" in Path(pattern).parent.name:
                with suppress(OSError):  # it may be gone, or hold something else
                    path.parent.rmdir()


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
