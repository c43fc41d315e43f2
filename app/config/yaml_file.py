"""Reading the configuration file: YAML, with errors that name line and column."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from app.config.errors import ConfigError
from services.errors import Problem

MAX_BYTES = 1024 * 1024
HINTS = {
    "found character '\\t'": "indent with spaces, not with tabs",
    "expected <block end>": "this line is indented otherwise than the keys beside it",
    "mapping values are not allowed": "put a text with `: ` in it in quotes; keys of one section are indented alike",
}
"""What is behind the parser's words most often."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key given twice is an error, and every error of a value is a YAMLError."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except yaml.YAMLError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # such as `!!int x`
            message = f"not a valid value for {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path, *, required: bool) -> dict[str, Any]:
    """The sections of a YAML file; an empty file, or an absent one that is not ``required``, has none.

    Raises ConfigError.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if not required:
            return {}
        raise ConfigError([Problem("", "there is no such file")], str(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise ConfigError([Problem("", f"it cannot be read: {reason}")], str(path)) from error
    try:
        return parse_yaml(data)
    except ConfigError as error:
        raise ConfigError(error.problems, str(path)) from error


def parse_yaml(data: bytes) -> dict[str, Any]:
    """The sections of a YAML document, what is null left out.  Raises ConfigError without a source."""
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem("", f"it is larger than {MAX_BYTES // 1024} KiB")])
    try:
        text = data.decode("utf-8-sig")
        tree = _without_nulls(yaml.load(text, _Loader))  # noqa: S506 - a subclass of SafeLoader
    except UnicodeDecodeError as error:
        raise ConfigError([Problem("", f"it is not UTF-8 (byte {error.start})")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([_problem(error)]) from error
    except RecursionError as error:
        raise ConfigError([Problem("", "it is nested too deeply, or in itself")]) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([Problem("", "it must be a mapping of sections, such as `server:` with keys below it")])
    return tree


def _problem(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is not valid YAML"
    reason += next((f" ({hint})" for words, hint in HINTS.items() if words in reason), "")
    if mark is None:
        return Problem("", f"not valid YAML: {reason}")
    return Problem(f"line {mark.line + 1}, column {mark.column + 1}", f"not valid YAML: {reason}")


def _without_nulls(tree: Any) -> Any:
    """A key without a value, such as a section whose keys are all commented out, is as good as absent."""
    if isinstance(tree, dict):
        return {key: _without_nulls(value) for key, value in tree.items() if value is not None}
    return tree
