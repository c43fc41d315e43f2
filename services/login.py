"""Looks for a CLI's login where its backend says that it can be seen."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from services.availability import Capture
from services.backends.login import Evidence, Login, LoginCheck
from services.environment import mask, secrets_of
from services.errors import ClinvkError

LOGIN_TIMEOUT_S = 20.0
MOST_BYTES = 1024 * 1024


def look(check: LoginCheck | None, program: str, environment: Mapping[str, str], capture: Capture) -> Login:
    """Whether the CLI at ``program`` is logged in, in the environment that it gets.  Asks no provider."""
    if check is None:
        return Login(None, "nothing is known of how it logs in")
    home = environment.get(check.home_variable)
    folder = Path(home) if home else Path(environment.get("HOME") or "/nonexistent") / check.usual_home
    exit_code, output, errors = 0, "", ""
    if check.args:
        try:
            exit_code, output, errors = capture([program, *check.args], environment, LOGIN_TIMEOUT_S)
        except ClinvkError as error:
            return Login(None, error.message)
    files = {name: text for name in check.files if (text := _read(folder / name)) is not None}
    login = check.judge(Evidence(environment, files, exit_code, output, errors))
    return replace(login, how=mask(login.how, secrets_of(environment)))


def _read(path: Path) -> str | None:
    """A file's text; None when it is not there, or not for us."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
