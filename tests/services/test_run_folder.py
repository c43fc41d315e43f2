"""Folders of runs: each is as new, whoever had it before."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from services.run_folder import MOST_SPARES, SPARE, RunFolder, Spares


def make(place: Path, name: str, spares: Spares, files: tuple[tuple[str, str], ...] = ()) -> RunFolder:
    return RunFolder.create(str(place / name), files, "", spares)


def inode(folder: RunFolder) -> int:
    return Path(folder.path).stat().st_ino


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def names(folder: Path | str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_what_was_left_empty_is_anothers_by_another_name(place: Path) -> None:
    spares = Spares()
    one = make(place, "one", spares)
    was = inode(one)
    one.remove()
    assert names(place) == [f"{SPARE}one"]
    other = make(place, "other", spares, (("system.md", "text"),))
    assert inode(other) == was
    assert names(other.path) == ["system.md", "tmp", "work"]
    assert names(place) == ["other"]
    other.remove()
    assert names(place) == []


def replaced_by_a_link(folder: RunFolder, elsewhere: Path) -> None:
    Path(folder.work).rmdir()
    Path(folder.work).symlink_to(elsewhere)


def with_an_attribute(folder: RunFolder, _: Path) -> None:
    os.setxattr(folder.temporary, "user.note", b"for the next")


CHANGES: dict[str, Callable[[RunFolder, Path], object]] = {
    "a file": lambda folder, _: Path(folder.work, "file").touch(),
    "a hidden folder": lambda folder, _: Path(folder.temporary, ".hidden").mkdir(),
    "a neighbour": lambda folder, _: Path(folder.path, "home").mkdir(),
    "other rights": lambda folder, _: Path(folder.work).chmod(0o777),
    "other rights of all": lambda folder, _: Path(folder.path).chmod(0o1700),
    "one is gone": lambda folder, _: Path(folder.work).rmdir(),
    "a link": replaced_by_a_link,
    "an attribute": with_an_attribute,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_shows_that_it_was_used_is_removed(
    place: Path, tmp_path: Path, change: Callable[[RunFolder, Path], object]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder = make(place, "one", Spares())
    change(folder, elsewhere)
    folder.remove()
    assert names(place) == []
    assert elsewhere.is_dir()


def test_no_more_are_kept_than_there_may_be(place: Path) -> None:
    spares = Spares()
    folders = [make(place, f"run{number}", spares) for number in range(MOST_SPARES + 3)]
    for folder in folders:
        folder.remove()
    assert len(names(place)) == MOST_SPARES


def test_one_that_was_taken_away_is_made_anew(place: Path, tmp_path: Path) -> None:
    spares = Spares()
    make(place, "one", spares).remove()
    (place / f"{SPARE}one").rename(tmp_path / "elsewhere")
    assert Path(make(place, "other", spares).work).is_dir()
