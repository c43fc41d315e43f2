"""The shape of the configuration file: one schema a section, each loading into its dataclass.

The names and, with few exceptions, the meanings are clinvoker's; what it documents as "empty means the default" is so
here.  Nothing here reads anything or knows another section: that is :mod:`app.config.checks`.
"""

from marshmallow import fields

from app.config.backends import Backends
from app.config.section import Section
from app.config.values import (
    Several,
    absolute_path,
    choice,
    flag,
    host,
    host_name,
    network,
    origin,
    rate,
    seconds,
    text,
    url,
    variable,
    whole,
)
from services.settings import (
    APPROVAL_MODES,
    DEFAULT_BLOCKED_WORKDIRS,
    DEFAULT_CORS_ORIGINS,
    LOG_FORMATS,
    OUTPUT_FORMATS,
    SANDBOX_MODES,
    OutputSettings,
    ParallelSettings,
    SdkSettings,
    ServerSettings,
    SessionSettings,
    UnifiedFlags,
    WarmStart,
)

_STORAGES = ("memory", "redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster")


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


class WarmStartSection(Section):
    """An entry of ``server.warm_at_start``."""

    shape = WarmStart
    backend = text()
    api = choice(("native", "openai", "anthropic"))
    model = text()
    ephemeral = flag()
    max_tokens = whole()
    system_prompt = text()
    count = whole(1, 256)


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
    log_format = choice(LOG_FORMATS)
    log_prompts = flag()
    max_concurrent_runs = whole(0, 1024)
    max_queued_runs = whole(0, 4096)
    max_runs_per_key = whole()
    queue_timeout_secs = seconds()
    warm_processes = whole(0, 256)
    warm_idle_secs = seconds()
    warm_at_start = Several(fields.Nested(WarmStartSection))
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
