"""A configuration as the file that would give it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import yaml

from services.settings import BackendSettings, Config

_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


def in_force(config: Config) -> str:
    """Every key with its value, as YAML.  Passwords in URLs are masked; API keys are not in it."""
    tree = {
        "default_backend": config.default_backend,
        "unified_flags": asdict(config.unified_flags),
        "backends": {name: _backend(settings) for name, settings in config.backends.items()},
        "session": asdict(config.session),
        "output": asdict(config.output),
        "parallel": asdict(config.parallel),
        "sdk": asdict(config.sdk),
        "server": {key: value for key, value in asdict(config.server).items() if key != "api_keys"},
    }
    return yaml.safe_dump(_plain(tree), sort_keys=False, allow_unicode=True, width=120)


def _backend(settings: BackendSettings) -> dict[str, Any]:
    told = asdict(settings)
    custom = told.pop("custom")
    told["allowed_tools"] = "all" if settings.allowed_tools is None else settings.allowed_tools
    for mode in ("approval_mode", "sandbox_mode"):
        told[mode] = told[mode] or ""
    return told | (custom or {})


def _plain(value: Any) -> Any:
    """Tuples as lists, whole seconds without a fraction, no passwords."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return _PASSWORD.sub(r"\1:***@", value)
    assert not is_dataclass(value)
    return value
