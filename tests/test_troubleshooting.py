"""docs/troubleshooting.md has an entry for each error code, and no other; what it names of the configuration exists."""

import re

import pytest

from services.errors import ErrorCode
from tests.support.guard import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()


def test_each_error_code_has_an_entry() -> None:
    assert sorted(re.findall(r"^### (\S+)$", PAGE, re.MULTILINE)) == sorted(ErrorCode)


@pytest.mark.parametrize("key", sorted(set(re.findall(r"`(?:server|session|unified_flags|backends)\.([^`]+)`", PAGE))))
def test_each_setting_is_one(key: str) -> None:
    assert f"| `{key.removeprefix('<name>.')}` |" in CONFIGURATION
