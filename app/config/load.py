"""From flags, environment and file to a Config."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from marshmallow import ValidationError

from app.config.checks import contradictions, default_concurrent_runs
from app.config.errors import ConfigError
from app.config.schemas import ConfigSection
from app.config.yaml_file import read_yaml
from services.backends import BUILT_IN
from services.errors import Problem
from services.settings import BackendSettings, Config, ServerSettings

Keys = tuple[Any, ...]
SECRETS = {"api_keys", "rate_limit_storage_uri", "database_url", "environment", "system_prompt"}
ONLY_IN_ENVIRONMENT = (
    "keys are not kept in the configuration file: use CLINVK_API_KEYS, server.api_keys_file or "
    "server.api_keys_gopass_path"
)


def load_config(
    path: str | Path | None = None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    memory_bytes: int = 0,
) -> Config:
    """The configuration: ``overrides`` (flags, by dotted key) before environment before file before defaults.

    ``path`` names the file, else CLINVK_CONFIG does, else it is ``config.yaml`` in the home folder and may be absent.
    ``memory_bytes`` is what the machine or container has, for the defaults that depend on it.  Raises ConfigError.
    """
    home = home_folder(environ)
    file = config_file(environ, path)
    tree = read_yaml(file, required=path is not None or bool(environ.get("CLINVK_CONFIG")))
    source = str(file) if tree else ""
    sources: dict[Keys, str] = {}
    for keys, value, name in (*_from_environment(environ, tree), *_from_flags(overrides or {})):
        _put(tree, keys, value)
        sources[keys] = name
    try:
        sections = ConfigSection().load(tree)
    except ValidationError as error:
        raise ConfigError(list(_told(error.messages, tree, sources)), source) from error
    config = _complete(sections, home, environ, memory_bytes)
    if problems := list(contradictions(config)):
        raise ConfigError(problems, source)
    return config


def home_folder(environ: Mapping[str, str]) -> Path:
    """Where clinvk keeps everything of its own.  Raises ConfigError when CLINVK_HOME is not absolute."""
    if moved := environ.get("CLINVK_HOME"):
        if not Path(moved).is_absolute():
            raise ConfigError([Problem("CLINVK_HOME", f"must be an absolute path, not {moved!r}")])
        return Path(moved)
    return Path(environ.get("HOME") or Path.home()) / ".clinvk"


def config_file(environ: Mapping[str, str], path: str | Path | None = None) -> Path:
    """The file that is read, absolute."""
    named = path or environ.get("CLINVK_CONFIG")
    return Path(named).absolute() if named else home_folder(environ) / "config.yaml"


def _from_environment(environ: Mapping[str, str], tree: Mapping[str, Any]) -> Iterator[tuple[Keys, str, str]]:
    """What the environment says: keys, value, variable.  An empty variable counts as unset."""
    configured = tree.get("backends")
    named = [name for name in configured if isinstance(name, str)] if isinstance(configured, dict) else []
    variables: dict[str, Keys] = {
        "CLINVK_BACKEND": ("default_backend",),
        "CLINVK_API_KEYS_GOPASS_PATH": ("server", "api_keys_gopass_path"),
        **{f"CLINVK_{_shouted(name)}_MODEL": ("backends", name, "model") for name in (*_always(), *named)},
    }
    for variable, keys in variables.items():
        if value := environ.get(variable):
            yield keys, value, variable


def _shouted(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _from_flags(overrides: Mapping[str, Any]) -> Iterator[tuple[Keys, Any, str]]:
    for dotted, value in overrides.items():
        keys = tuple(dotted.split("."))
        yield keys, value, f"--{keys[-1].replace('_', '-')}"


def _put(tree: dict[str, Any], keys: Keys, value: Any) -> None:
    """Set a key; a section that is no mapping is left for the schema to refuse."""
    node: Any = tree
    for key in keys[:-1]:
        node = node.setdefault(key, {}) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node[keys[-1]] = value


def _complete(sections: dict[str, Any], home: Path, environ: Mapping[str, str], memory_bytes: int) -> Config:
    """The Config with what no schema knows: which backends there are, keys, numbers that depend on the machine."""
    server: ServerSettings = replace(sections.pop("server", ServerSettings()), api_keys=_api_keys(environ))
    if not server.max_concurrent_runs:
        runs = max(default_concurrent_runs(memory_bytes, server.warm_processes), server.workers)
        server = replace(server, max_concurrent_runs=runs)
    backends = _backends(sections.pop("backends", {}))
    return Config(home=home, server=server, backends=backends, **sections)


def _backends(configured: Mapping[str, BackendSettings]) -> dict[str, BackendSettings]:
    """Every backend there is, in a fixed order: the built-in ones, demo if switched on, then those of the file."""
    backends = {name: configured.get(name, BackendSettings()) for name in _always()}
    if "demo" in configured and configured["demo"].enabled:
        backends["demo"] = configured["demo"]
    return backends | {name: settings for name, settings in configured.items() if name not in BUILT_IN}


def _always() -> Iterator[str]:
    """The backends that are there without being switched on."""
    return (name for name in BUILT_IN if name != "demo")


def _api_keys(environ: Mapping[str, str]) -> tuple[str, ...]:
    listed = environ.get("CLINVK_API_KEYS", "")
    keys = tuple(key.strip() for key in listed.split(",") if key.strip())
    if listed and not keys:
        raise ConfigError([Problem("CLINVK_API_KEYS", "is set but holds no key (keys are separated by commas)")])
    return keys


def _told(messages: Any, tree: Any, sources: Mapping[Keys, str], at: Keys = ()) -> Iterator[Problem]:
    """Marshmallow's nested messages as a flat list, each with the value at fault and where that came from."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from _told(inner, tree, sources, at if key == "_schema" else (*at, key))
        return
    for message in messages if isinstance(messages, list) else [messages]:
        if at == ("server", "api_keys"):
            message = ONLY_IN_ENVIRONMENT  # noqa: PLW2901
        elif message.startswith("must be"):
            message += _found(at, tree)  # noqa: PLW2901
        origin = f" (from {sources[at]})" if at in sources else ""
        yield Problem(dotted(at), message + origin)


def dotted(keys: Iterable[Any]) -> str:
    """The path of a key as people write it: ``server.trusted_proxies[0]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _found(at: Keys, tree: Any) -> str:
    """What stands there, "" where that is nothing, or nothing to be shown."""
    if SECRETS & set(at):
        return ""
    for key in at:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return ""
    if isinstance(tree, dict):
        return "; it is a mapping"
    told = str(tree).lower() if isinstance(tree, bool) else ascii(tree)
    return f"; it is {told if len(told) <= 60 else told[:57] + '...'}"
