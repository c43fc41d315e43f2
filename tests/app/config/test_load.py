"""Flags before environment before file before defaults, and what is made of them."""

from pathlib import Path
from typing import Any

import pytest

from app.config import ConfigError, config_file, home_folder, load_config
from services.settings import BackendSettings, Config
from tests.app.config.reading import ENVIRON, nested, problems, read

# what clinvoker 0.2.0 documents, in full
CLINVOKERS_FILE = """
default_backend: claude
unified_flags: {approval_mode: default, sandbox_mode: default, verbose: false, dry_run: false, max_turns: 0,
  max_tokens: 0, command_timeout_secs: 0}
backends:
  claude: {model: claude-opus-4-5-20251101, allowed_tools: all, approval_mode: "", sandbox_mode: "", enabled: true,
    system_prompt: "", extra_flags: []}
  codex: {model: o3, enabled: true, extra_flags: []}
  gemini: {model: gemini-2.5-pro, enabled: true, extra_flags: []}
session: {auto_resume: true, retention_days: 30, store_token_usage: true, default_tags: []}
output: {format: json, show_tokens: false, show_timing: false, color: true}
parallel: {max_workers: 3, fail_fast: false, aggregate_output: true}
server: {host: "127.0.0.1", port: 8080, request_timeout_secs: 300, read_timeout_secs: 30, write_timeout_secs: 300,
  idle_timeout_secs: 120, api_keys_gopass_path: "", rate_limit_enabled: false, rate_limit_rps: 10, rate_limit_burst: 20,
  rate_limit_cleanup_secs: 180, trusted_proxies: [], max_request_body_bytes: 10485760, cors_allowed_origins: [],
  cors_allow_credentials: false, cors_max_age: 300, allowed_workdir_prefixes: [], blocked_workdir_prefixes: [],
  metrics_enabled: false}
"""


def test_clinvokers_documented_file_says_what_are_the_defaults_but_for_the_models(tmp_path: Path) -> None:
    config = read(tmp_path, CLINVOKERS_FILE)
    models = {name: backend.model for name, backend in config.backends.items()}
    assert models == {"claude": "claude-opus-4-5-20251101", "codex": "o3", "gemini": "gemini-2.5-pro"}
    defaults = read(tmp_path, "")
    for section in ("default_backend", "unified_flags", "session", "output", "parallel", "server"):
        assert getattr(config, section) == getattr(defaults, section)


VARIABLES = {
    "CLINVK_BACKEND": "default_backend",
    "CLINVK_CLAUDE_MODEL": "backends.claude.model",
    "CLINVK_CODEX_MODEL": "backends.codex.model",
    "CLINVK_GEMINI_MODEL": "backends.gemini.model",
    "CLINVK_API_KEYS_GOPASS_PATH": "server.api_keys_gopass_path",
}


def found(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


@pytest.mark.parametrize(("variable", "key"), VARIABLES.items())
def test_flags_then_environment_then_file_then_defaults(tmp_path: Path, variable: str, key: str) -> None:
    file, set_to = nested(key, "codex"), {variable: "gemini"}
    flags = {key: "demo", "backends.demo.enabled": True}
    assert found(read(tmp_path, ""), key) in ("", "claude")
    assert found(read(tmp_path, file), key) == "codex"
    assert found(read(tmp_path, file, {variable: ""}), key) == "codex"
    assert found(read(tmp_path, file, set_to), key) == "gemini"
    assert found(read(tmp_path, file, set_to, overrides=flags), key) == "demo"


def test_an_error_says_which_variable_or_flag_it_came_from(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "", overrides={"server.port": 99999})
    assert problem.message == "must be a whole number from 0 to 65535; it is 99999 (from --port)"
    (problem,) = problems(tmp_path, "", {"CLINVK_CLAUDE_MODEL": "a\udcff"})
    assert problem.location == "backends.claude.model"
    assert problem.message.endswith("(from CLINVK_CLAUDE_MODEL)")


@pytest.mark.parametrize("text", ["server: 3", "backends: []", "backends: {claude: x}"])
def test_a_section_that_is_none_is_told_even_when_flags_and_variables_go_into_it(tmp_path: Path, text: str) -> None:
    environ = {"CLINVK_CLAUDE_MODEL": "x", "CLINVK_API_KEYS_GOPASS_PATH": "y"}
    (problem,) = problems(tmp_path, text, environ, overrides={"server.port": 1})
    assert problem.message.startswith("must be a mapping")


def test_home_and_file_are_found(tmp_path: Path) -> None:
    assert home_folder({"HOME": "/h"}) == Path("/h/.clinvk")
    assert home_folder({"HOME": "/h", "CLINVK_HOME": "/c"}) == Path("/c")
    assert config_file({"HOME": "/h"}) == Path("/h/.clinvk/config.yaml")
    assert config_file({"HOME": "/h", "CLINVK_HOME": "/c"}) == Path("/c/config.yaml")
    assert config_file({"HOME": "/h", "CLINVK_CONFIG": "/f"}) == Path("/f")
    assert config_file({"HOME": "/h", "CLINVK_CONFIG": "/f"}, "/g") == Path("/g")
    assert config_file({"HOME": "/h"}, "x.yaml") == Path.cwd() / "x.yaml"
    with pytest.raises(ConfigError, match="CLINVK_HOME: must be an absolute path, not 'here'"):
        home_folder({"CLINVK_HOME": "here"})


def test_the_default_file_is_read_from_the_home_folder_and_may_be_absent(tmp_path: Path) -> None:
    environ = {"CLINVK_HOME": str(tmp_path)}
    assert load_config(environ=environ).home == tmp_path
    (tmp_path / "config.yaml").write_text("server: {port: 1234}")
    assert load_config(environ=environ).server.port == 1234


def test_keys_come_from_the_environment_alone(tmp_path: Path) -> None:
    config = read(tmp_path, "", {"CLINVK_API_KEYS": " first-key, other-key,,"})
    assert config.server.api_keys == ("first-key", "other-key")
    assert "first-key" not in repr(config)
    assert read(tmp_path, "", {"CLINVK_API_KEYS": ""}).server.api_keys == ()
    (problem,) = problems(tmp_path, "", {"CLINVK_API_KEYS": " , "})
    assert problem.location == "CLINVK_API_KEYS"


def test_the_backends_are_those_that_there_are_in_a_fixed_order(tmp_path: Path) -> None:
    text = """backends: {zed: {command: [zed]}, gemini: {model: x}, ant: {command: [ant]}}"""
    assert list(read(tmp_path, "").backends) == ["claude", "codex", "gemini"]
    assert list(read(tmp_path, text).backends) == ["claude", "codex", "gemini", "zed", "ant"]
    assert read(tmp_path, text).backends["codex"] == BackendSettings()
    custom = read(tmp_path, text, {"CLINVK_ZED_MODEL": "m"}).backends["zed"]
    assert custom.model == "m"
    assert custom.custom is not None
    assert custom.custom.command == ("zed",)


def test_demo_is_there_only_when_switched_on(tmp_path: Path) -> None:
    for text in ("", "backends: {demo: {enabled: false}}", "backends: {demo: {model: x}}", "backends: {demo: {}}"):
        assert "demo" not in read(tmp_path, text).backends, text
    assert "demo" in read(tmp_path, "backends: {demo: {enabled: true}}").backends
    assert list(read(tmp_path, "", overrides={"backends.demo.enabled": True}).backends)[-1] == "demo"
    (problem,) = problems(tmp_path, "default_backend: demo")
    assert problem.message == "must name a backend, not 'demo'; there are claude, codex, gemini"


MB = 1024 * 1024


@pytest.mark.parametrize(
    ("server", "memory_bytes", "runs"),
    [
        ({}, 0, 2),
        ({"warm_processes": 0}, 2000 * MB, 3),
        ({"warm_processes": 0}, 6000 * MB, 10),
        ({}, 6000 * MB, 7),
        ({"warm_processes": 50}, 6000 * MB, 2),
        ({}, 10**12, 32),
        ({"workers": 4}, 0, 4),
        ({"max_concurrent_runs": 7}, 10**12, 7),
    ],
)
def test_how_many_runs_depends_on_the_memory(tmp_path: Path, server: Any, memory_bytes: int, runs: int) -> None:
    config = read(tmp_path, {"server": server}, memory_bytes=memory_bytes)
    assert config.server.max_concurrent_runs == runs


def test_nothing_of_the_real_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINVK_BACKEND", "codex")
    assert load_config(environ=ENVIRON).default_backend == "claude"
