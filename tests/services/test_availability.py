"""What is known of the backends' programs."""

import threading
from collections.abc import Mapping
from pathlib import Path

from services.availability import Availability, BackendStatus
from services.errors import ClinvkError, ErrorCode
from services.settings import BackendSettings
from tests.support.fake_runs import FakeBackend


class Shell:
    """Stands in for programs: what each says when asked for its version."""

    def __init__(self) -> None:
        self.says: dict[str, tuple[int, str, str] | ClinvkError] = {}
        self.asked: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.seen = threading.Event()

    def capture(self, argv: list[str], environment: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
        assert timeout_s > 0
        self.asked.append(argv)
        self.environments.append(environment)
        self.seen.set()
        answer = self.says[argv[0]]
        if isinstance(answer, ClinvkError):
            raise answer
        return answer


def program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def watched(folder: Path, shell: Shell, settings: BackendSettings | None = None) -> Availability:
    backend = FakeBackend("claude")
    backend.executable = "claude"
    environment = {"PATH": str(folder), "CLINVK_API_KEYS": "secret", "HOME": "/h"}
    known = {"claude": settings or BackendSettings(model="m")}
    return Availability({"claude": backend}, known, capture=shell.capture, environment=environment)


def test_a_program_is_asked_once_until_it_changes(tmp_path: Path) -> None:
    shell = Shell()
    path = program(tmp_path, "claude")
    shell.says["claude"] = (0, "claude 2.1.197 (Claude Code)\n", "")
    known = watched(tmp_path, shell)
    assert known.statuses() == [BackendStatus("claude", True, "m", available=True)]
    known.refresh()
    known.refresh()
    assert known.statuses() == [BackendStatus("claude", True, "m", available=True, version="2.1.197")]
    assert shell.asked == [["claude", "--version"]]
    path.write_text("#!/bin/sh\n# newer\n")
    shell.says["claude"] = (0, "2.2.0-beta.1+build\n", "")
    known.refresh()
    assert known.statuses()[0].version == "2.2.0-beta.1+build"
    path.unlink()
    known.refresh()
    assert known.statuses() == [BackendStatus("claude", True, "m", available=False)]


def test_it_sees_only_what_a_cli_may_see(tmp_path: Path) -> None:
    shell = Shell()
    program(tmp_path, "claude")
    shell.says["claude"] = (0, "1.0", "")
    watched(tmp_path, shell).refresh()
    assert shell.environments == [{"PATH": str(tmp_path), "HOME": "/h"}]


def test_it_gets_what_it_needs_for_the_question(tmp_path: Path) -> None:
    shell = Shell()
    program(tmp_path, "claude")
    shell.says["claude"] = (0, "1.0", "")
    backend = FakeBackend("claude")
    backend.executable, backend.version_environment = "claude", {"HOME": "."}
    environment = {"PATH": str(tmp_path), "HOME": "/h"}
    known = {"claude": BackendSettings()}
    Availability({"claude": backend}, known, capture=shell.capture, environment=environment).refresh()
    assert shell.environments == [{"PATH": str(tmp_path), "HOME": "."}]


def test_the_configured_program_counts(tmp_path: Path) -> None:
    shell = Shell()
    mine = str(program(tmp_path, "mine"))
    shell.says[mine] = (0, "3.0", "")
    known = watched(tmp_path, shell, BackendSettings(executable=mine))
    known.refresh()
    assert known.statuses()[0].version == "3.0"


def test_a_program_that_fails_has_no_version(tmp_path: Path) -> None:
    shell = Shell()
    program(tmp_path, "claude")
    shell.says["claude"] = (1, "error 1.2.3", "")
    known = watched(tmp_path, shell)
    known.refresh()
    assert known.statuses() == [BackendStatus("claude", True, "m", available=True)]


def test_a_program_that_cannot_be_started_is_not_available(tmp_path: Path) -> None:
    shell = Shell()
    program(tmp_path, "claude")
    shell.says["claude"] = ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, "exec format error")
    known = watched(tmp_path, shell)
    known.refresh()
    assert known.statuses() == [BackendStatus("claude", True, "m", available=False)]


def test_what_is_not_executable_is_not_available(tmp_path: Path) -> None:
    (tmp_path / "claude").mkdir()
    known = watched(tmp_path, Shell())
    known.refresh()
    assert known.statuses() == [BackendStatus("claude", True, "m", available=False)]


def test_it_looks_in_the_background(tmp_path: Path) -> None:
    shell = Shell()
    program(tmp_path, "claude")
    shell.says["claude"] = (0, "1.0", "")
    known = watched(tmp_path, shell)
    known.start()
    assert shell.seen.wait(20)
    known.close()


def test_it_says_whether_the_version_is_the_tested_one(tmp_path: Path) -> None:
    shell = Shell()
    path = program(tmp_path, "claude")
    backend = FakeBackend("claude")
    backend.executable, backend.tested_version = "claude", "2.1"
    known = Availability(
        {"claude": backend}, {"claude": BackendSettings()}, capture=shell.capture, environment={"PATH": str(tmp_path)}
    )
    assert known.status("claude").tested is False
    shell.says["claude"] = (0, "2.1 (Claude Code)", "")
    assert known.look("claude").tested is True
    path.write_text("#!/bin/sh\n# newer\n")
    shell.says["claude"] = (0, "2.1.1 (Claude Code)", "")
    assert known.look("claude").tested is False
    path.unlink()
    assert known.look("claude").tested is False


def test_it_says_why_a_version_is_not_known(tmp_path: Path) -> None:
    shell = Shell()
    path = program(tmp_path, "claude")
    known = watched(tmp_path, shell)
    shell.says["claude"] = (127, "", "env: 'node': No such file or directory\n")
    problem = "`claude --version` ended with exit code 127 env: 'node': No such file or directory"
    assert known.look("claude").problem == problem
    path.write_text("#!/bin/sh\n# slower\n")
    shell.says["claude"] = (-1, "", "")
    assert known.look("claude").problem == "`claude --version` did not answer within 20 s"
    path.write_text("#!/bin/sh\n# none at all\n")
    shell.says["claude"] = ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, "exec format error")
    assert known.look("claude").problem == "exec format error"
    path.write_text("#!/bin/sh\n# mended it is\n")
    shell.says["claude"] = (0, "1.0", "")
    assert known.look("claude").problem == ""


def test_it_says_where_a_program_is(tmp_path: Path) -> None:
    known = watched(tmp_path, Shell())
    assert known.program("claude") is None
    path = program(tmp_path, "claude")
    assert known.program("claude") == str(path)
    assert known.environment("claude") == {"PATH": str(tmp_path), "HOME": "/h"}
