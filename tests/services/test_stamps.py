"""Whether a file is still the one it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.backends.login import Login, LoginCheck
from services.stamps import stamp, watched_files


@pytest.mark.parametrize("how", ["replaced", "written", "removed", "touched", "leads elsewhere"])
def test_a_change_shows(tmp_path: Path, how: str) -> None:
    file, link = tmp_path / "cli.js", tmp_path / "cli"
    file.write_text("one")
    link.symlink_to(file)
    before = stamp([str(link)])
    other = tmp_path / "new"
    other.write_text("one")
    match how:
        case "replaced":
            other.rename(file)
        case "written":
            file.write_text("other")
        case "removed":
            file.unlink()
        case "touched":
            os.utime(file, ns=(1, 1))
        case "leads elsewhere":
            link.unlink()
            link.symlink_to(other)
    assert stamp([str(link)]) != before


def test_what_did_not_change_is_the_same_be_it_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    paths = [str(tmp_path / "a"), str(tmp_path / "missing")]
    assert stamp(paths) == stamp(paths)
    assert stamp(paths)[1] is None


def test_the_program_and_what_it_reads_of_its_user_are_watched() -> None:
    check = LoginCheck(
        lambda _: Login(True), files=("a",), read_at_start=("b/c",), home_variable="CLI", usual_home=".cli"
    )
    assert watched_files("/bin/cli", check, {"HOME": "/h"}) == ("/bin/cli", "/h/.cli/a", "/h/.cli/b/c")
    assert watched_files("/bin/cli", check, {"HOME": "/h", "CLI": "/x"}) == ("/bin/cli", "/x/a", "/x/b/c")
    assert watched_files("/bin/cli", None, {"HOME": "/h"}) == ("/bin/cli",)
