"""``backends``: those that are built in, and those that a command in the configuration defines."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from marshmallow import ValidationError, fields, post_load

from app.config.section import NO_MAPPING, Section
from app.config.values import (
    Several,
    choice,
    flag,
    table,
    table_of_lists,
    table_of_tables,
    text,
    tools,
    variable,
    whole,
)
from services.backends import BUILT_IN
from services.backends.custom import problems
from services.settings import APPROVAL_MODES, SANDBOX_MODES, BackendSettings, CustomCommand

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


class BackendSection(Section):
    """``backends.<name>`` of a backend that is built in."""

    shape = BackendSettings
    enabled = flag()
    model = text()
    models = Several(text())
    allowed_tools = tools()
    approval_mode = choice(APPROVAL_MODES, blank=None)
    sandbox_mode = choice(SANDBOX_MODES, blank=None)
    system_prompt = text()
    extra_flags = Several(text())
    executable = text()
    max_retries = whole(0, 10)
    warm = whole(0, 256)


class DemoSection(BackendSection):
    """``backends.demo``, which is off unless it is switched on."""

    @post_load
    def build(self, data: Mapping[str, Any], **_: Any) -> BackendSettings:
        """The dataclass."""
        return BackendSettings(**{"enabled": False, **data})


class CustomBackendSection(BackendSection):
    """``backends.<name>`` of a backend that ``command`` defines: the same keys and those of CustomCommand."""

    command = Several(text())
    prompt_by = choice(("stdin", "argument", "file"))
    newline_before = Several(text())
    refuses = table()
    option_args = table_of_lists()
    option_env = table_of_tables()
    environment = table()
    pass_env = Several(variable())
    files = table()
    leftovers = Several(text())
    start_in_advance = flag()
    output = choice(("text", "jsonl"))
    text_path = text()
    text_when = table()
    thinking_path = text()
    thinking_when = table()
    message_when = table()
    final_when = table()
    error_path = text()
    error_when = table()
    error_status_path = text()
    session_path = text()
    usage_paths = table_of_lists()
    cost_path = text()
    usage_is = choice(("total", "increment"))
    failures = table()
    version_args = Several(text())
    install_hint = text()
    login_hint = text()

    @post_load
    def build(self, data: Mapping[str, Any], **_: Any) -> BackendSettings:
        """The dataclass, with the command in it.  What one key demands of another, the backend knows."""
        own = {key: value for key, value in data.items() if key not in BackendSection().fields}
        common = {key: value for key, value in data.items() if key in BackendSection().fields}
        command = CustomCommand(**own)
        if found := problems(command):
            raise ValidationError({problem.location: [problem.message] for problem in found})
        return BackendSettings(**common, custom=command)


class Backends(fields.Field[Any]):
    """``backends``: sections by name; a name that is not built in needs a ``command``."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, BackendSettings]:
        if not isinstance(value, Mapping):
            raise ValidationError(NO_MAPPING)
        loaded, errors = {}, {}
        for name, section in value.items():
            try:
                loaded[name] = self._section(name, section).load(section)
            except ValidationError as error:
                errors[name] = error.messages
        if errors:
            raise ValidationError(errors)
        return loaded

    def _section(self, name: Any, section: Any) -> Section:
        if name in BUILT_IN:
            if isinstance(section, Mapping) and "command" in section:
                raise ValidationError(f"{name} is built in and takes no command; `executable` names another program")
            return DemoSection() if name == "demo" else BackendSection()
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValidationError("is no name for a backend: small letters, digits, `-`, `_`, `.`, at most 63")
        if isinstance(section, Mapping) and "command" not in section:
            likely = get_close_matches(name, BUILT_IN, n=1)
            hint = f"did you mean {likely[0]}?" if likely else f"built in are {', '.join(BUILT_IN)}"
            raise ValidationError(f"unknown backend; {hint} (one of your own needs a `command`)")
        return CustomBackendSection()
