"""The settings of every part, as frozen dataclasses with their defaults.

``app/config.py`` fills them from flags, environment and file; the parts take what concerns them as an
argument.  Nothing here reads anything.  A name ending in ``_secs`` is in seconds (the names are those of
the configuration file).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LogFormat = Literal["auto", "text", "json"]
ApprovalMode = Literal["default", "auto", "none", "always"]
SandboxMode = Literal["default", "read-only", "workspace", "full"]
OutputFormat = Literal["default", "text", "json", "stream-json"]

APPROVAL_MODES: tuple[ApprovalMode, ...] = ("default", "auto", "none", "always")
SANDBOX_MODES: tuple[SandboxMode, ...] = ("default", "read-only", "workspace", "full")
LOG_FORMATS: tuple[LogFormat, ...] = ("auto", "text", "json")
OUTPUT_FORMATS: tuple[OutputFormat, ...] = ("default", "text", "json", "stream-json")


@dataclass(frozen=True, slots=True)
class UnifiedFlags:
    """Defaults of a prompt's options, for every backend; 0 means the CLI's own default."""

    approval_mode: ApprovalMode = "default"
    sandbox_mode: SandboxMode = "default"
    verbose: bool = False
    dry_run: bool = False
    max_turns: int = 0
    max_tokens: int = 0
    command_timeout_secs: float = 0.0


@dataclass(frozen=True, slots=True)
class CustomCommand:
    """How to run a CLI that has no code of its own here, and how to read what it prints.

    ``command`` is its argv, the program first; no shell is involved.  ``option_args`` says which arguments follow for
    an option of a prompt (see :mod:`services.backends.custom`); an option that is not in it becomes a warning.
    ``output="text"`` passes stdout on as it comes.  ``"jsonl"`` reads JSON lines: a *path* is a dotted one
    (``part.tokens.input``, a number for an element of a list), a *when* maps paths to the values they must have,
    written as text (``true``, ``3``).
    ``failures`` maps words of an error, in any case, to the error code they mean; ``refuses`` maps regular
    expressions for prompts that the CLI would take for more than text to the reason.
    """

    command: tuple[str, ...] = ()
    prompt_by: Literal["stdin", "argument", "file"] = "stdin"
    newline_before: tuple[str, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict)
    option_args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    option_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    start_in_advance: bool = False
    output: Literal["text", "jsonl"] = "text"
    text_path: str = ""
    text_when: Mapping[str, str] = field(default_factory=dict)
    thinking_path: str = ""
    thinking_when: Mapping[str, str] = field(default_factory=dict)
    message_when: Mapping[str, str] = field(default_factory=dict)
    final_when: Mapping[str, str] = field(default_factory=dict)
    error_path: str = ""
    error_when: Mapping[str, str] = field(default_factory=dict)
    error_status_path: str = ""
    session_path: str = ""
    usage_paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cost_path: str = ""
    usage_is: Literal["total", "increment"] = "total"
    failures: Mapping[str, str] = field(default_factory=dict)
    version_args: tuple[str, ...] = ("--version",)
    install_hint: str = ""
    login_hint: str = ""


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """``backends.<name>``."""

    enabled: bool = True
    model: str = ""
    models: tuple[str, ...] = ()
    allowed_tools: tuple[str, ...] | None = None
    approval_mode: ApprovalMode | None = None
    sandbox_mode: SandboxMode | None = None
    system_prompt: str = ""
    extra_flags: tuple[str, ...] = ()
    executable: str = ""
    max_retries: int = 2
    warm: int = 256
    custom: CustomCommand | None = None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """``session``."""

    auto_resume: bool = True
    retention_days: int = 30
    store_token_usage: bool = True
    store_turns: bool = False
    default_tags: tuple[str, ...] = ()
    database_url: str = ""
    keep_warm_secs: float = 0.0


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """``output``: how the command line prints; the server does not use it."""

    format: OutputFormat = "json"
    show_tokens: bool = False
    show_timing: bool = False
    color: bool = True


@dataclass(frozen=True, slots=True)
class ParallelSettings:
    """``parallel``."""

    max_workers: int = 3
    fail_fast: bool = False
    aggregate_output: bool = True


@dataclass(frozen=True, slots=True)
class SdkSettings:
    """``sdk``: what answers on the OpenAI and Anthropic routes (``none``: a model without the CLI's tools)."""

    tools: Literal["none", "cli"] = "none"


DEFAULT_CORS_ORIGINS = ("http://localhost:*", "https://localhost:*", "http://127.0.0.1:*", "https://127.0.0.1:*")
DEFAULT_BLOCKED_WORKDIRS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root/.ssh", "/run", "/sbin", "/sys", "/usr",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WarmStart:
    """An entry of ``server.warm_at_start``: ``count`` processes for such prompts, on the API that they will come by."""

    backend: str = ""
    api: Literal["native", "openai", "anthropic"] = "native"
    model: str = ""
    ephemeral: bool = False
    max_tokens: int = 0
    system_prompt: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``server``."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    request_timeout_secs: float = 300.0
    read_timeout_secs: float = 30.0
    write_timeout_secs: float = 300.0
    idle_timeout_secs: float = 120.0
    graceful_timeout_secs: float = 30.0
    heartbeat_secs: float = 15.0
    headers_after_secs: float = 10.0
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """From the environment alone (CLINVK_API_KEYS)."""
    api_keys_file: str = ""
    api_keys_gopass_path: str = ""
    allow_unauthenticated_network: bool = False
    rate_limit_enabled: bool = False
    rate_limit_rps: float = 10.0
    rate_limit_burst: int = 20
    rate_limit_cleanup_secs: float = 180.0
    rate_limit_storage_uri: str = "memory://"
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_request_body_bytes: int = 10 * 1024 * 1024
    cors_allowed_origins: tuple[str, ...] = DEFAULT_CORS_ORIGINS
    cors_allow_credentials: bool = False
    cors_max_age: int = 300
    allowed_workdir_prefixes: tuple[str, ...] = ()
    blocked_workdir_prefixes: tuple[str, ...] = DEFAULT_BLOCKED_WORKDIRS
    allowed_approval_modes: tuple[ApprovalMode, ...] = APPROVAL_MODES
    allowed_sandbox_modes: tuple[SandboxMode, ...] = SANDBOX_MODES
    metrics_enabled: bool = False
    pass_env: tuple[str, ...] = ()
    log_format: LogFormat = "auto"
    log_prompts: bool = False
    max_concurrent_runs: int = 0
    max_queued_runs: int = 64
    max_runs_per_key: int = 0
    queue_timeout_secs: float = 60.0
    warm_processes: int = 4
    warm_idle_secs: float = 600.0
    warm_at_start: tuple[WarmStart, ...] = ()
    max_line_bytes: int = 64 * 1024 * 1024
    max_output_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration.  ``backends`` has an entry for every backend there is, in a fixed order."""

    home: Path
    default_backend: str = "claude"
    unified_flags: UnifiedFlags = UnifiedFlags()
    backends: Mapping[str, BackendSettings] = field(default_factory=dict)
    session: SessionSettings = SessionSettings()
    output: OutputSettings = OutputSettings()
    server: ServerSettings = ServerSettings()
    parallel: ParallelSettings = ParallelSettings()
    sdk: SdkSettings = SdkSettings()
