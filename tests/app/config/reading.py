"""Reading a configuration in a test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from app.config import ConfigError, load_config
from services.errors import Problem
from services.settings import Config

ENVIRON = {"HOME": "/home/somebody"}


def read(folder: Path, tree: Any, environ: Mapping[str, str] | None = None, **more: Any) -> Config:
    """The Config of a file with this content: text as it is, anything else as YAML."""
    file = folder / "config.yaml"
    file.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return load_config(file, environ=ENVIRON | dict(environ or {}), **more)


def problems(folder: Path, tree: Any, environ: Mapping[str, str] | None = None, **more: Any) -> list[Problem]:
    """What is wrong with such a file; nothing when it is good."""
    try:
        read(folder, tree, environ, **more)
    except ConfigError as error:
        return list(error.problems)
    return []


def nested(dotted: str, value: Any) -> dict[str, Any]:
    """``server.port`` and a value as the tree of a file; ``backends.llm.…`` brings the command it needs."""
    tree = value
    for key in reversed(dotted.split(".")):
        tree = {key: tree}
    if dotted.startswith("backends.llm."):
        tree["backends"]["llm"].setdefault("command", ["llm", "prompt"])
    return dict(tree)
