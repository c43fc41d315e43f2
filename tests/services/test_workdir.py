"""Which folders a run may work in."""

from pathlib import Path

import pytest

from services.container import create_container
from services.errors import ClinvkError, ErrorCode
from services.prompts import Prompt
from services.settings import BackendSettings, Config
from services.workdir import resolve_workdir


def resolve(path: object, allowed: tuple[str, ...] = (), blocked: tuple[str, ...] = ("/etc", "/usr")) -> str:
    return resolve_workdir(str(path), location="tasks[1].workdir", allowed=allowed, blocked=blocked)


def test_links_are_resolved_first(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    assert resolve(tmp_path / "link") == str(real.resolve())


@pytest.mark.parametrize(
    "path",
    ["relative", "", ".", "~", "/", "//", "/etc", "/etc/", "/etc/../etc", "/tmp/../etc", "/no/such/folder",
     "/etc/passwd", "/tmp\0/x", "/usr/bin", "/proc/self/root", "/proc/self/root/etc", "a\nb", "/tmp/\n"],
)  # fmt: skip
def test_refused(path: str) -> None:
    with pytest.raises(ClinvkError) as caught:
        resolve(path)
    assert caught.value.code is ErrorCode.WORKDIR_NOT_ALLOWED
    assert caught.value.problems[0].location == "tasks[1].workdir"


def test_a_link_into_a_blocked_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(ClinvkError, match="blocks"):
        resolve(tmp_path / "link")


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ClinvkError):
        resolve(tmp_path / "a")


def test_allowed_prefixes_are_whole_names(tmp_path: Path) -> None:
    for name in ("work", "workshop", "work/blocked"):
        (tmp_path / name).mkdir()
    allowed, blocked = (str(tmp_path / "work"),), (str(tmp_path / "work" / "blocked"),)
    assert resolve(tmp_path / "work", allowed, blocked)
    with pytest.raises(ClinvkError, match="outside"):
        resolve(tmp_path / "workshop", allowed, blocked)
    with pytest.raises(ClinvkError, match="blocks"):
        resolve(tmp_path / "work" / "blocked", allowed, blocked)


def test_the_servers_own_folder_is_closed_where_the_sessions_of_others_lie(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "work" / "session-of-another").mkdir(parents=True)
    (tmp_path / "link").symlink_to(home / "work")
    container = create_container(Config(home, backends={"claude": BackendSettings()}), "test", {})
    try:
        for folder in (home, home / "work" / "session-of-another", tmp_path / "link" / "session-of-another"):
            with pytest.raises(ClinvkError, match="blocks") as caught:
                container.runs.check(Prompt("claude", "hello", workdir=str(folder)))
            assert caught.value.code is ErrorCode.WORKDIR_NOT_ALLOWED
    finally:
        container.close()
