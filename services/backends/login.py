"""How to find out whether a CLI is logged in, without asking its provider: what to look at, and what it means.

As everything about a backend it is pure: :mod:`services.login` runs the program and reads the files.  Nothing that is
said here holds a secret.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ASSIGNMENT = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Login:
    """Whether a CLI is logged in; None where that cannot be told.

    ``how`` says by what, or what is in the way; ``fix`` is what to do where that is not to log in.
    """

    good: bool | None
    how: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found: the CLI's environment, the files that are there (by name), and what the program said.

    ``exit_code`` is that of a program that was asked: minus the signal, or -1 when it did not answer in time.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    exit_code: int = 0
    output: str = field(default="", repr=False)
    errors: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LoginCheck:
    """What to look at, and the judgement of it.

    With ``args`` the program is asked; ``files`` are relative to the folder that the variable ``home_variable`` names,
    which is ``usual_home`` below HOME where it is not set.  ``read_at_start`` are more files there, which nobody here
    looks into: the CLI reads them when it starts, so that one that was started before they changed is out of date.
    """

    judge: Callable[[Evidence], Login]
    args: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    home_variable: str = "HOME"
    usual_home: str = ""
    read_at_start: tuple[str, ...] = ()


def no_answer(evidence: Evidence) -> Login:
    """What to make of a program that has said nothing of use."""
    if evidence.exit_code < 0:
        return Login(None, "it did not answer in time when asked for its login")
    last_words = next(iter((evidence.errors or evidence.output).strip().splitlines()[-1:]), "")
    return Login(None, f"it could not tell (exit code {evidence.exit_code}) {last_words}".rstrip())


def assignments(text: str) -> dict[str, str]:
    """The variables of a ``.env`` file that have a value."""
    return {name: value for name, quoted in ASSIGNMENT.findall(text) if (value := quoted.strip("\"'"))}
