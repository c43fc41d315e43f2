"""``clinvk doctor``: what it finds, what it says mends it, and the exit code."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from app.cli import main
from app.doctor.findings import BackendReport, Finding, Level, Report
from app.doctor.text import PLAIN_MARKS, lines
from services.sessions.store import SessionStore
from tests.app.client.test_connection import answering
from tests.fake_cli.install import FakeClis
from tests.support.server import Server, ServerFactory
from tests.support.waiting import free_port

SECRET = "sk-very-secret-0123456789"


class Doctor:
    """Calls the doctor in this process; what it reported."""

    def __init__(self, capsys: pytest.CaptureFixture[str], home: Path) -> None:
        self._capsys = capsys
        self.home = home / ".clinvk"
        self.port = free_port()

    def configure(self, text: str = "") -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        (self.home / "config.yaml").write_text(text or f"server: {{port: {self.port}}}")

    def json(self, *arguments: str) -> Any:
        code = main(["doctor", "--json", *arguments])
        out, err = self._capsys.readouterr()
        report = json.loads(out)
        assert (err, report["exit_code"]) == ("", code)
        return report

    def text(self) -> str:
        main(["doctor"])
        return self._capsys.readouterr().out


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], home: Path) -> Doctor:
    doctor = Doctor(capsys, home)
    doctor.configure()
    return doctor


def backend(report: Any, name: str) -> Any:
    return next(backend for backend in report["backends"] if backend["name"] == name)


def findings(part: Any, level: Level = Level.FAULT) -> list[str]:
    return [finding["text"] for finding in part if finding["level"] == level]


def program(folder: Path, name: str, script: str) -> None:
    """A program in a folder of PATH, in the place of a fake CLI."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_with_nothing_installed(doctor: Doctor) -> None:
    report = doctor.json()
    assert (report["exit_code"], report["ready"]) == (1, [])
    claude = backend(report, "claude")
    assert claude["findings"] == [
        {"level": "fault", "text": "claude is not in PATH", "fix": "npm install -g @anthropic-ai/claude-code"}
    ]
    assert "No backend can answer yet." in doctor.text()


def test_with_one_that_can_answer(doctor: Doctor, fake_clis: FakeClis, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("codex", "claude"):
        (fake_clis.bin / name).unlink()
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)
    report = doctor.json()
    gemini = backend(report, "gemini")
    assert (report["exit_code"], report["ready"]) == (0, ["gemini"])
    assert (gemini["version"], gemini["tested"], gemini["logged_in"]) == ("0.61.0", True, True)
    assert gemini["program"] == str(fake_clis.bin / "gemini")
    assert gemini["command"] == "gemini --acp --skip-trust <stdin>"
    assert SECRET not in json.dumps(report) + doctor.text()


def test_the_login_is_that_of_the_cli(doctor: Doctor, fake_clis: FakeClis) -> None:
    program(
        fake_clis.bin, "claude", 'case "$1" in --version) echo 2.1.197;; *) echo \'{"loggedIn": false}\'; exit 1; esac'
    )
    program(
        fake_clis.bin, "codex", 'case "$1" in --version) echo 0.1.0;; login) echo Logged in using ChatGPT >&2; esac'
    )
    report = doctor.json()
    claude, codex, gemini = (backend(report, name) for name in ("claude", "codex", "gemini"))
    assert (claude["logged_in"], codex["logged_in"], gemini["logged_in"]) == (False, True, False)
    assert claude["findings"][0]["fix"].startswith("run `claude` and log in with /login")
    assert codex["login"] == "an account of ChatGPT"
    assert codex["findings"] == [
        {
            "level": "note",
            "text": "version 0.1.0 is not the tested one, 0.169.0; most often it works as well",
            "fix": "npm install -g @openai/codex@0.169.0",
        }
    ]
    assert report["ready"] == ["codex"]


def test_a_cli_gets_no_more_than_from_the_server(
    doctor: Doctor, fake_clis: FakeClis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLINVK_API_KEYS", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    program(
        fake_clis.bin, "claude", f"env > {tmp_path}/env; pwd > {tmp_path}/cwd; readlink /proc/self/fd/0 > {tmp_path}/in"
    )
    doctor.json()
    assert SECRET not in (tmp_path / "env").read_text()
    assert Path((tmp_path / "cwd").read_text()).is_relative_to(doctor.home)
    assert [path.name for path in doctor.home.iterdir()] == ["config.yaml"], "it leaves nothing behind"


def test_one_that_cannot_tell_its_version(doctor: Doctor, fake_clis: FakeClis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    program(fake_clis.bin, "claude", f"echo node: not found, {SECRET} >&2; exit 127")
    claude = backend(doctor.json(), "claude")
    assert findings(claude["findings"]) == ["`claude --version` ended with exit code 127 node: not found, ***"]


def test_the_rest_of_the_backends(doctor: Doctor, fake_clis: FakeClis) -> None:
    fake_clis.install("mine")
    doctor.configure(
        f"""
default_backend: codex
server: {{port: {doctor.port}, allowed_approval_modes: [none]}}
backends:
  claude: {{executable: /nowhere/claude}}
  codex: {{enabled: false}}
  demo: {{enabled: true, approval_mode: none}}
  mine: {{command: [mine], approval_mode: none}}
"""
    )
    report = doctor.json()
    assert findings(backend(report, "claude")["findings"]) == [
        "there is no program /nowhere/claude that can be run (backends.claude.executable)"
    ]
    assert findings(backend(report, "codex")["findings"], Level.NOTE) == ["switched off (backends.codex.enabled)"]
    assert "is not permitted on this server" in findings(backend(report, "gemini")["findings"])[-1]
    assert (backend(report, "demo")["tested"], backend(report, "demo")["logged_in"]) == (True, True)
    assert (backend(report, "mine")["tested"], backend(report, "mine")["logged_in"]) == (None, None)
    assert report["ready"] == ["demo", "mine"]
    assert findings(report["configuration"], Level.WARNING) == ["default_backend is codex, which is switched off"]


def test_a_configuration_at_fault(doctor: Doctor) -> None:
    doctor.configure("server: {prot: 1, port: x}")
    report = doctor.json()
    assert (report["exit_code"], report["backends"]) == (2, [])
    assert findings(report["configuration"]) == [
        "server.port: must be a whole number from 0 to 65535; it is 'x'",
        "server.prot: unknown key; did you mean port?",
    ]
    assert "No server starts with this configuration" in doctor.text()


def test_a_file_that_is_not_there(doctor: Doctor) -> None:
    report = doctor.json("--config", "/nowhere/config.yaml")
    assert (report["exit_code"], findings(report["configuration"])) == (2, ["there is no such file"])


def test_keys(doctor: Doctor, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    doctor.configure(f"server: {{port: {doctor.port}, host: 0.0.0.0, api_keys_file: {keys}}}")
    report = doctor.json()
    assert report["exit_code"] == 2
    assert "cannot be read" in findings(report["configuration"])[0]
    keys.write_text(f"{SECRET}\n")
    keys.chmod(0o644)
    report = doctor.json()
    (warning,) = [finding for finding in report["configuration"] if finding["level"] == Level.WARNING]
    assert warning["fix"] == f"chmod 600 {keys}"
    keys.chmod(0o600)
    assert findings(doctor.json()["configuration"], Level.GOOD)[-1] == (
        f"listens on http://127.0.0.1:{doctor.port}; 1 API key"
    )
    assert SECRET not in doctor.text()


def test_an_open_door(doctor: Doctor) -> None:
    doctor.configure(f"server: {{port: {doctor.port}, host: 0.0.0.0, allow_unauthenticated_network: true}}")
    assert findings(doctor.json()["configuration"], Level.WARNING) == [
        f"listens on 0.0.0.0, port {doctor.port}, and whoever can reach it needs no API key"
    ]


def test_folders(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with SessionStore.open(doctor.home / "sessions.db"):
        pass
    assert findings(doctor.json()["folders"], Level.GOOD) == [
        f"{doctor.home} is there, for its owner alone",
        "the session store can be used: 0 sessions",
    ]
    doctor.home.chmod(0o755)
    (warning,) = [finding for finding in doctor.json()["folders"] if finding["level"] == Level.WARNING]
    assert warning["fix"] == f"chmod 700 {doctor.home}"
    (doctor.home / "sessions.db").write_text("this is no database, whatever one reads it as" * 100)
    report = doctor.json()
    assert report["exit_code"] == 1
    assert "sessions.db" in findings(report["folders"])[0]
    monkeypatch.setenv("CLINVK_HOME", str(tmp_path / "new" / "home"))
    assert findings(doctor.json()["folders"], Level.NOTE)[0] == f"{tmp_path}/new/home will be made at the first start"
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLINVK_HOME", str(tmp_path / "file"))
    report = doctor.json("--config", str(doctor.home / "config.yaml"))
    assert findings(report["folders"])[0] == f"{tmp_path}/file is no folder"


def test_a_home_that_cannot_be_looked_at(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLINVK_HOME", str(tmp_path / ("long" * 100)))
    report = doctor.json("--config", str(doctor.home / "config.yaml"))
    assert findings(report["folders"], Level.NOTE)[0].endswith("will be made at the first start")


def test_no_server(doctor: Doctor) -> None:
    assert doctor.json()["server"] == [
        {"level": "note", "text": f"no server runs at http://127.0.0.1:{doctor.port}", "fix": "clinvk serve"}
    ]


def test_somebody_else_listens(doctor: Doctor) -> None:
    with answering(200, b"<html>") as address:
        port = address.url.rpartition(":")[2]
        doctor.configure(f"server: {{port: {port}}}")
        report = doctor.json()
    assert report["exit_code"] == 1
    assert f"127.0.0.1:{port} is in use" in findings(report["server"])[0]


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers()


def test_a_server_that_runs(doctor: Doctor, server: Server) -> None:
    doctor.configure(f"server: {{port: {server.port}}}")
    (found,) = doctor.json()["server"]
    assert found["level"] == "good"
    assert found["text"].startswith(f"a server runs at http://127.0.0.1:{server.port} since ")


def test_a_server_of_another_version(doctor: Doctor, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor.configure(f"server: {{port: {server.port}}}")
    monkeypatch.setattr("app.doctor.surroundings.__version__", "99.0")
    (found,) = doctor.json()["server"]
    assert (found["level"], found["fix"]) == ("warning", "stop it, and start it again")
    assert __version__ in found["text"]


REPORT = Report(
    "1.0",
    "me",
    (Finding(Level.GOOD, "/etc/clinvk.yaml"),),
    (
        BackendReport("claude", True, "/bin/claude", "2.0", True, "2.0", True, "a key", "claude -p --input <stdin>"),
        BackendReport(
            "codex", True, "/bin/codex", "", None, "1.0", None, "it hangs", "",
            (Finding(Level.FAULT, "it\x1b[2J hangs", "wait"),),
        ),
        BackendReport("gemini", False, findings=(Finding(Level.NOTE, "switched off"),)),
    ),
    (Finding(Level.WARNING, "others may look", "chmod 700 /h"),),
    (Finding(Level.NOTE, "no server runs", "clinvk serve"),),
)  # fmt: skip


def test_the_page() -> None:
    assert (
        "\n".join(line.plain.rstrip() for line in lines(REPORT, width=0))
        == """\
clinvk 1.0, as me and with the environment of this shell sees it

Configuration
  ✓ /etc/clinvk.yaml

Backends
  ✓ claude   2.0 (tested), logged in by a key
    program  /bin/claude
    runs     claude -p --input <stdin>
  ✗ codex    version not known; whether it is logged in cannot be told: it hangs
    program  /bin/codex
    fault    it\ufffd[2J hangs
    do       wait
  · gemini   switched off

Folders
  ! others may look
    do       chmod 700 /h

Server
  · no server runs
    do       clinvk serve

claude can answer."""
    )


def test_the_page_on_a_narrow_terminal() -> None:
    shown = [line.plain for line in lines(REPORT, width=50)]
    assert max(map(len, shown[1:])) <= 50
    assert "             logged in cannot be told: it hangs" in shown


def test_the_page_without_unicode() -> None:
    marks = [
        line.plain[2] for line in lines(REPORT, width=0, marks=PLAIN_MARKS) if line.plain[3:4] == " " != line.plain[2:3]
    ]
    assert marks == ["+", "+", "x", "-", "!", "-"]


def test_colours_are_for_terminals(doctor: Doctor) -> None:
    assert "\x1b" not in doctor.text()
    assert os.environ.get("NO_COLOR") is None
