"""Tests cannot reach the home folder, the network or a real CLI."""

import os
import pathlib
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.fake_cli.install import FakeClis
from tests.support import guard


def test_the_home_folder_is_the_tests_own(home: Path, tmp_path: Path) -> None:
    assert Path.home() == home
    assert home.is_relative_to(tmp_path)
    assert not home.is_relative_to(guard.REAL_HOME) or tmp_path.is_relative_to(guard.REAL_HOME)
    assert os.environ["CLINVK_HOME"] == str(home / ".clinvk")


def test_the_environment_holds_nothing_of_the_user(home: Path) -> None:
    names = {name for name in os.environ if not name.startswith(guard.KEPT_PREFIXES)}

    assert names <= {*guard.KEPT_VARIABLES, "HOME", "CLINVK_HOME", "PATH"}


@pytest.mark.parametrize("name", ["claude", "codex", "gemini", "gopass"])
def test_no_real_cli_is_found(name: str) -> None:
    assert shutil.which(name) is None


def test_the_fake_clis_are_found(fake_clis: FakeClis) -> None:
    assert shutil.which("claude") == str(fake_clis.bin / "claude")
    assert subprocess.run(["codex", "--version"], capture_output=True, check=True).stdout == b"codex-cli 0.169.0\n"


def test_a_program_with_a_clis_name_elsewhere_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(guard.LeftTheBoxError, match="started /opt/claude"):
        subprocess.run(["/opt/claude", "--version"], check=False)


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)])
def test_other_hosts_cannot_be_reached(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(guard.LeftTheBoxError):
        sock.connect(address)


def test_names_are_not_looked_up() -> None:
    with pytest.raises(guard.LeftTheBoxError, match=r"example\.org"):
        socket.getaddrinfo("example.org", 443)


def test_loopback_and_unix_sockets_can(tmp_path: Path) -> None:
    with socket.create_server(("localhost", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        place = os.path.relpath(tmp_path / "s")
        server.bind(place)
        server.listen()
        client.connect(place)


@pytest.mark.parametrize("name", [".claude/settings.json", ".codex/auth.json", ".gemini/oauth_creds.json", ".clinvk/x"])
def test_the_real_home_folder_is_closed(name: str) -> None:
    with pytest.raises(guard.LeftTheBoxError):
        (guard.REAL_HOME / name).open()


def test_the_guard_lets_ordinary_files_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("y")

    assert pathlib.Path(__file__).read_text()
