"""The shape of the configuration file: one schema a section, each loading into its dataclass.

The names and, with few exceptions, the meanings are clinvoker's; what it documents as "empty means the default" is so
here.  Nothing here reads anything or knows another section: that is :mod:`app.config.checks`.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validates_schema

from app.config.values import (
    Several,
    Table,
    Value,
    absolute_path,
    choice,
    flag,
    host,
    host_name,
    network,
    origin,
    rate,
    seconds,
    table,
    text,
    tools,
    url,
    variable,
    whole,
)  # fmt: skip
from services.backends.custom import problems
from services.settings import (
    APPROVAL_MODES,
    DEFAULT_BLOCKED_WORKDIRS,
    DEFAULT_CORS_ORIGINS,
    OUTPUT_FORMATS,
    SANDBOX_MODES,
    BackendSettings,
    CustomCommand,
    OutputSettings,
    ParallelSettings,
    SdkSettings,
    ServerSettings,
    SessionSettings,
    UnifiedFlags,
)  # fmt: skip

BUILT_IN = ("claude", "codex", "gemini", "demo")
_BACKEND_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
NO_MAPPING = "must be a mapping (`key: value`, one a line)"
_STORAGES = ("memory", "redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster")


def unknown(key: object, known: Collection[str]) -> str:
    """What to say of a key that there is not, with the one that was probably meant."""
    likely = get_close_matches(str(key), known, n=1)
    return f"unknown key; did you mean {likely[0]}?" if likely else f"unknown key; known are {', '.join(known)}"


class Section(Schema):
    """A mapping of known keys that loads into ``shape``; what is absent has the dataclass's default."""

    shape: ClassVar[type]
    error_messages = {"type": NO_MAPPING}  # noqa: RUF012 - as marshmallow declares it

    class Meta:
        """Unknown keys are told by :meth:`refuse_unknown`, which knows the likely ones."""

        unknown = EXCLUDE

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_unknown(self, _data: Any, original: Any, **_: Any) -> None:
        """Name every key that there is not."""
        if not isinstance(original, Mapping):
            return  # already told
        if errors := {key: [unknown(key, self.fields)] for key in original if key not in self.fields}:
            raise ValidationError(errors)

    @post_load
    def build(self, data: Mapping[str, Any], **_: Any) -> Any:
        """The dataclass."""
        return self.shape(**data)


class UnifiedFlagsSection(Section):
    """``unified_flags``."""

    shape = UnifiedFlags
    approval_mode = choice(APPROVAL_MODES, blank="default")
    sandbox_mode = choice(SANDBOX_MODES, blank="default")
    verbose = flag()
    dry_run = flag()
    max_turns = whole()
    max_tokens = whole()
    command_timeout_secs = seconds()


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


class CustomBackendSection(BackendSection):
    """``backends.<name>`` of a backend that ``command`` defines: the same keys and those of CustomCommand."""

    command = Several(text())
    prompt_by = choice(("stdin", "argument", "file"))
    newline_before = Several(text())
    refuses = table()
    option_args = Table(Several(text()))
    option_env = Table(table())
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
    usage_paths = Table(Several(text()))
    cost_path = text()
    usage_is = choice(("total", "increment"))
    failures = table()
    version_args = Several(text())
    install_hint = text()
    login_hint = text()

    @validates_schema
    def coherent(self, data: Mapping[str, Any], **_: Any) -> None:
        """What one key demands of another."""
        errors: dict[str, list[str]] = {}
        for problem in problems(_command(data)):
            errors.setdefault(problem.location, []).append(problem.message)
        if errors:
            raise ValidationError(errors)

    @post_load
    def build(self, data: Mapping[str, Any], **_: Any) -> BackendSettings:
        """The dataclass, with the command in it."""
        common = {key: value for key, value in data.items() if key in BackendSection().fields}
        return BackendSettings(**common, custom=_command(data))


def _command(data: Mapping[str, Any]) -> CustomCommand:
    common = BackendSection().fields
    return CustomCommand(**{key: value for key, value in data.items() if key not in common})


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
            return BackendSection()
        if not isinstance(name, str) or not _BACKEND_NAME.fullmatch(name):
            raise ValidationError("is no name for a backend: small letters, digits, `-`, `_`, `.`, at most 63")
        if isinstance(section, Mapping) and "command" not in section:
            likely = get_close_matches(name, BUILT_IN, n=1)
            hint = f"did you mean {likely[0]}?" if likely else f"built in are {', '.join(BUILT_IN)}"
            raise ValidationError(f"unknown backend; {hint} (one of your own needs a `command`)")
        return CustomBackendSection()


class SessionSection(Section):
    """``session``."""

    shape = SessionSettings
    auto_resume = flag()
    retention_days = whole(0, 36500)
    store_token_usage = flag()
    store_turns = flag()
    default_tags = Several(text())
    database_url = url(("sqlite", "postgresql", "postgresql+psycopg"), blank=True)
    keep_warm_secs = seconds()


class OutputSection(Section):
    """``output``."""

    shape = OutputSettings
    format = choice(OUTPUT_FORMATS, blank="json")
    show_tokens = flag()
    show_timing = flag()
    color = flag()


class ParallelSection(Section):
    """``parallel``."""

    shape = ParallelSettings
    max_workers = whole(1, 100)
    fail_fast = flag()
    aggregate_output = flag()


class SdkSection(Section):
    """``sdk``."""

    shape = SdkSettings
    tools = choice(("none", "cli"))


class ServerSection(Section):
    """``server``."""

    shape = ServerSettings
    host = host()
    port = whole(0, 65535)
    workers = whole(1, 64)
    request_timeout_secs = seconds(required=True)
    read_timeout_secs = seconds(required=True)
    write_timeout_secs = seconds(required=True)
    idle_timeout_secs = seconds(required=True)
    graceful_timeout_secs = seconds()
    heartbeat_secs = seconds(required=True)
    headers_after_secs = seconds(required=True)
    api_keys_file = absolute_path(blank=True)
    api_keys_gopass_path = text()
    allow_unauthenticated_network = flag()
    rate_limit_enabled = flag()
    rate_limit_rps = rate()
    rate_limit_burst = whole(0, 1_000_000)
    rate_limit_cleanup_secs = seconds(zero=ServerSettings().rate_limit_cleanup_secs)
    rate_limit_storage_uri = url(_STORAGES)
    trusted_proxies = Several(network())
    allowed_hosts = Several(host_name())
    max_request_body_bytes = whole()
    cors_allowed_origins = Several(origin(), when_empty=DEFAULT_CORS_ORIGINS)
    cors_allow_credentials = flag()
    cors_max_age = whole(0, 86400)
    allowed_workdir_prefixes = Several(absolute_path())
    blocked_workdir_prefixes = Several(absolute_path(), when_empty=DEFAULT_BLOCKED_WORKDIRS)
    allowed_approval_modes = Several(choice(APPROVAL_MODES), when_empty=APPROVAL_MODES)
    allowed_sandbox_modes = Several(choice(SANDBOX_MODES), when_empty=SANDBOX_MODES)
    metrics_enabled = flag()
    pass_env = Several(variable())
    log_prompts = flag()
    max_concurrent_runs = whole(0, 1024)
    max_queued_runs = whole(0, 4096)
    max_runs_per_key = whole()
    queue_timeout_secs = seconds()
    warm_processes = whole(0, 256)
    warm_idle_secs = seconds()
    max_line_bytes = whole(1024)
    max_output_bytes = whole(1024)


class ConfigSection(Section):
    """The whole file.  Loads into the arguments of Config that the file can give."""

    shape = dict
    default_backend = text()
    unified_flags = fields.Nested(UnifiedFlagsSection)
    backends = Backends()
    session = fields.Nested(SessionSection)
    output = fields.Nested(OutputSection)
    server = fields.Nested(ServerSection)
    parallel = fields.Nested(ParallelSection)
    sdk = fields.Nested(SdkSection)


__all__ = ["BUILT_IN", "BackendSection", "ConfigSection", "CustomBackendSection", "Section", "Value"]
