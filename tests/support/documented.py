"""The backends that ``docs/backends.md`` describes, so that what the page says is what the tests run."""

from typing import Any

import yaml

from app.config.backends import Backends
from services.settings import CustomCommand
from tests.support.documents import Block, blocks_of_page

PAGE = "docs/backends.md"


def configurations() -> dict[str, dict[str, Any]]:
    """The sections ``backends.<name>`` of the page, by name, as YAML gives them."""
    blocks = (block for block in blocks_of_page(PAGE) if block.language == "yaml")
    return {name: section for block in blocks for name, section in defined_in(block).items()}


def defined_in(block: Block) -> dict[str, dict[str, Any]]:
    """The sections of one block."""
    sections: dict[str, dict[str, Any]] = yaml.safe_load(block.text)["backends"]
    return sections


def command(name: str) -> CustomCommand:
    """One of them as the server reads it.  Raises ValidationError when it would not start."""
    loaded = Backends().deserialize({name: configurations()[name]})[name].custom
    assert isinstance(loaded, CustomCommand)
    return loaded
