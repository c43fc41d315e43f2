"""Where a login is looked for."""

from collections.abc import Mapping
from pathlib import Path

from services.backends.login import Evidence, Login, LoginCheck
from services.errors import ClinvkError, ErrorCode
from services.login import look


def unasked(*_: object) -> tuple[int, str, str]:
    raise AssertionError("a program was started")


class Judge:
    """Keeps what it is shown."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.evidence = Evidence()

    def __call__(self, evidence: Evidence) -> Login:
        self.evidence = evidence
        return self.login


def test_files_are_read_from_the_home_of_the_cli(tmp_path: Path) -> None:
    (tmp_path / ".cli").mkdir()
    (tmp_path / ".cli" / "config").write_bytes(b"hello \xff")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config").write_text("moved")
    judge = Judge(Login(True, "a file"))
    check = LoginCheck(judge, files=("config", "missing"), home_variable="CLI_HOME", usual_home=".cli")

    assert look(check, "cli", {"HOME": str(tmp_path)}, unasked) == Login(True, "a file")
    assert judge.evidence.files == {"config": "hello \ufffd"}
    look(check, "cli", {"HOME": str(tmp_path), "CLI_HOME": str(tmp_path / "other")}, unasked)
    assert judge.evidence.files == {"config": "moved"}
    look(check, "cli", {}, unasked)
    assert judge.evidence.files == {}


def test_the_program_is_asked_in_its_own_environment() -> None:
    asked: list[object] = []

    def capture(argv: list[str], environment: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
        asked.extend((argv, environment, timeout_s > 0))
        return 3, "out", "err"

    judge = Judge(Login(None))
    look(LoginCheck(judge, args=("login", "status")), "/bin/cli", {"HOME": "/h"}, capture)
    assert asked == [["/bin/cli", "login", "status"], {"HOME": "/h"}, True]
    assert (judge.evidence.exit_code, judge.evidence.output, judge.evidence.errors) == (3, "out", "err")


def test_one_that_cannot_be_started_is_not_judged() -> None:
    def capture(*_: object) -> tuple[int, str, str]:
        raise ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, "exec format error")

    assert look(LoginCheck(unasked, args=("x",)), "cli", {}, capture) == Login(None, "exec format error")  # type: ignore[arg-type]


def test_no_secret_is_told() -> None:
    check = LoginCheck(Judge(Login(False, "the key k3y-of-mine and sk-abcdefghijklmnop are wrong")))
    assert look(check, "cli", {"X_KEY": "k3y-of-mine"}, unasked).how == "the key *** and *** are wrong"


def test_nothing_is_known_of_a_cli_of_the_users_own() -> None:
    assert look(None, "cli", {}, unasked).good is None
