"""What one section of the configuration demands of another."""

import ipaddress
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from services.errors import Problem
from services.settings import Config, ServerSettings

MB = 1024 * 1024
MEMORY_PER_RUN = 300 * MB
"""What a CLI takes at its peak."""
MEMORY_PER_WARM = 200 * MB
"""What the largest of them takes while it waits for a prompt."""
FEWEST_RUNS, MOST_RUNS = 2, 32


def contradictions(config: Config) -> Iterator[Problem]:
    """Everything wrong with a configuration whose values are all right in themselves."""
    server = config.server
    if config.default_backend not in config.backends:
        yield Problem("default_backend", _no_such_backend(config.default_backend, config.backends))
    if (problem := exposure(server)) is not None:
        yield Problem("server.host", problem)
    if server.rate_limit_enabled:
        for key in ("rate_limit_rps", "rate_limit_burst"):
            if not getattr(server, key):
                yield Problem(f"server.{key}", "must be above 0 when rate_limit_enabled is true")
        if server.workers > 1 and server.rate_limit_storage_uri.startswith("memory"):
            yield Problem(
                "server.rate_limit_storage_uri",
                f"must be a redis:// URL when there are {server.workers} workers: each would count alone in its memory",
            )
    if server.cors_allow_credentials and "*" in server.cors_allowed_origins:
        yield Problem("server.cors_allowed_origins", "must name the origins when cors_allow_credentials is true, not *")
    for number, wanted in enumerate(server.warm_at_start):
        if wanted.backend not in config.backends:
            at = f"server.warm_at_start[{number}].backend"
            yield Problem(at, _no_such_backend(wanted.backend, config.backends))
    if server.max_line_bytes > server.max_output_bytes:
        yield Problem("server.max_line_bytes", f"must not exceed max_output_bytes ({server.max_output_bytes})")


def _no_such_backend(name: str, backends: Mapping[str, object]) -> str:
    likely = get_close_matches(name, backends, n=1)
    hint = f"did you mean {likely[0]}?" if likely else f"there are {', '.join(backends)}"
    return f"must name a backend, not {name!r}; {hint}"


def has_keys(server: ServerSettings) -> bool:
    """Whether a source of API keys is configured (what it holds is read later)."""
    return bool(server.api_keys or server.api_keys_file or server.api_keys_gopass_path)


def exposure(server: ServerSettings, host: str | None = None) -> str | None:
    """Why the server must not listen on this host (None: it may); without ``host``, on the configured one."""
    host = server.host if host is None else host
    if has_keys(server) or server.allow_unauthenticated_network or is_local(host):
        return None
    return (
        f"{host} can be reached from the network and no API key is configured: set CLINVK_API_KEYS, api_keys_file or "
        "api_keys_gopass_path, listen on 127.0.0.1, or say allow_unauthenticated_network: true"
    )


def is_local(host: str) -> bool:
    """Whether only this machine can reach it: a unix socket or the loopback interface."""
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: where it points to is not ours to judge


def default_concurrent_runs(memory_bytes: int, warm_processes: int = 0) -> int:
    """How many CLIs may run at once: half the memory, less what waits warm, but neither one nor a crowd."""
    fitting = (memory_bytes // 2 - warm_processes * MEMORY_PER_WARM) // MEMORY_PER_RUN
    return max(FEWEST_RUNS, min(fitting, MOST_RUNS))
