"""Commands that are run where there is no engine."""

import os
import time

import pytest

from services.errors import ClinvkError
from services.process import run_apart

SH = {"PATH": os.defpath, "WORD": "hello"}


def test_what_it_said_and_how_it_ended() -> None:
    assert run_apart(["sh", "-c", "echo $WORD; echo no >&2; exit 3"], SH, 10) == (3, "hello\n", "no\n")


@pytest.mark.timeout(10)
def test_one_that_takes_too_long_is_ended_with_what_it_started() -> None:
    began_s = time.monotonic()
    assert run_apart(["sh", "-c", "sleep 60 & wait"], SH, 0.2) == (-1, "", "")
    assert time.monotonic() - began_s < 5


def test_one_that_is_not_there() -> None:
    with pytest.raises(ClinvkError, match="no-such-program is not installed"):
        run_apart(["no-such-program"], SH, 10)
