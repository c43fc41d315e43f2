"""The backends that ``docs/backends.md`` describes, so that what the page says is what the tests run."""

import re
from typing import Any

import yaml

from app.config.backends import Backends
from services.settings import CustomCommand
from tests.support.guard import ROOT

BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def configurations() -> dict[str, dict[str, Any]]:
    """The sections ``backends.<name>`` of the page, by name, as YAML gives them."""
    page = (ROOT / "docs" / "backends.md").read_text()
    found: dict[str, dict[str, Any]] = {}
    for block in BLOCK.findall(page):
        found |= yaml.safe_load(block)["backends"]
    return found


def command(name: str) -> CustomCommand:
    """One of them as the server reads it.  Raises ValidationError when it would not start."""
    loaded = Backends().deserialize({name: configurations()[name]})[name].custom
    assert isinstance(loaded, CustomCommand)
    return loaded
