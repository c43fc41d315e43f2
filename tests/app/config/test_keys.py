"""Every key: what it takes, what it refuses, and how it says so."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from app.config.schemas import ConfigSection
from services.settings import (
    APPROVAL_MODES,
    DEFAULT_BLOCKED_WORKDIRS,
    DEFAULT_CORS_ORIGINS,
    SANDBOX_MODES,
    BackendSettings,
    Config,
    CustomCommand,
    WarmStart,
)
from tests.app.config.reading import nested, problems, read

LIST = "must be a list"
TABLE = "must be a mapping of names to text"
TRUTH = "must be true or false"
TEXT = "must be text (in quotes, if it looks like a number), without NUL"
COUNT = "must be a whole number, 0 or more"
SPAN = "must be a number of seconds, 0 or more, at most 604800"
SOME_TIME = "must be a number of seconds, above 0, at most 604800"
APPROVAL = "must be one of default, auto, none, always"
SANDBOX = "must be one of default, read-only, workspace, full"
PATH = "must be an absolute path"

JSONL = {"output": "jsonl", "text_path": "t"}

# key: (a good value, what it becomes, a bad value, what is said of it)
SERVER = {
    "host": ("::1", "::1", "two words", "must be a host name, an IP address or unix:/path/of/a/socket"),
    "port": (9000, 9000, 65536, "must be a whole number from 0 to 65535"),
    "workers": (2, 2, 0, "must be a whole number from 1 to 64"),
    "request_timeout_secs": (1.5, 1.5, 0, SOME_TIME),
    "read_timeout_secs": (10, 10.0, 0, SOME_TIME),
    "write_timeout_secs": (10, 10.0, -1, SOME_TIME),
    "idle_timeout_secs": (10, 10.0, "soon", SOME_TIME),
    "graceful_timeout_secs": (0, 0.0, 604801, SPAN),
    "heartbeat_secs": (5, 5.0, 0, SOME_TIME),
    "headers_after_secs": (5, 5.0, 0, SOME_TIME),
    "api_keys_file": ("/run/keys", "/run/keys", "keys", PATH),
    "api_keys_gopass_path": ("a/b", "a/b", 3, TEXT),
    "allow_unauthenticated_network": (True, True, "perhaps", TRUTH),
    "rate_limit_enabled": (True, True, 1, TRUTH),
    "rate_limit_rps": (0.5, 0.5, -1, "must be a number from 0 to 1000000"),
    "rate_limit_burst": (5, 5, 1.5, "must be a whole number from 0 to 1000000"),
    "rate_limit_cleanup_secs": (0, 180.0, -1, SPAN),
    "rate_limit_storage_uri": ("redis://h:1", "redis://h:1", "http://h", "must be a URL that begins with memory://"),
    "trusted_proxies": (["10.1.2.3/8", "::1"], ("10.0.0.0/8", "::1"), ["ten"], "must be an IP address or a network"),
    "allowed_hosts": (["My.Host"], ("my.host",), ["http://x"], "must be a host name or an IP address, without a port"),
    "max_request_body_bytes": (0, 0, -1, COUNT),
    "cors_allowed_origins": ([], DEFAULT_CORS_ORIGINS, ["app.example.com"], "must be an origin such as"),
    "cors_allow_credentials": (True, True, [], TRUTH),
    "cors_max_age": (60, 60, 86401, "must be a whole number from 0 to 86400"),
    "allowed_workdir_prefixes": (["/srv/"], ("/srv",), ["srv"], PATH),
    "blocked_workdir_prefixes": ([], DEFAULT_BLOCKED_WORKDIRS, "/etc", LIST),
    "allowed_approval_modes": (["auto"], ("auto",), ["yolo"], APPROVAL),
    "allowed_sandbox_modes": ([], SANDBOX_MODES, ["none"], SANDBOX),
    "metrics_enabled": ("yes", True, "2", TRUTH),
    "pass_env": (["MY_*"], ("MY_*",), ["CLINVK_API_KEYS"], "must be the name of an environment variable, or PREFIX_*"),
    "log_format": ("json", "json", "xml", "must be one of auto, text, json"),
    "log_prompts": (True, True, 0, TRUTH),
    "max_concurrent_runs": (4, 4, 1025, "must be a whole number from 0 to 1024"),
    "max_queued_runs": (0, 0, 4097, "must be a whole number from 0 to 4096"),
    "max_runs_per_key": (2, 2, -2, COUNT),
    "queue_timeout_secs": (0, 0.0, "-1", SPAN),
    "warm_processes": (3, 3, 257, "must be a whole number from 0 to 256"),
    "warm_idle_secs": (0, 0.0, float("inf"), SPAN),
    "warm_at_start": (
        [{"backend": "codex", "api": "openai", "count": "2"}],
        (WarmStart("codex", "openai", count=2),),
        [{"backend": "codex", "count": 0}],
        "must be a whole number from 1 to 256",
    ),
    "max_line_bytes": (4096, 4096, 10, "must be a whole number, 1024 or more"),
    "max_output_bytes": (1 << 30, 1 << 30, float("nan"), "must be a whole number, 1024 or more"),
}
UNIFIED = {
    "approval_mode": ("", "default", "sometimes", APPROVAL),
    "sandbox_mode": ("read-only", "read-only", "readonly", SANDBOX),
    "verbose": (True, True, "x", TRUTH),
    "dry_run": (True, True, "x", TRUTH),
    "max_turns": ("3", 3, True, COUNT),
    "max_tokens": (0, 0, -1, COUNT),
    "command_timeout_secs": (60, 60.0, -1, SPAN),
}
BACKEND = {
    "enabled": (False, False, "x", TRUTH),
    "model": ("opus", "opus", 4.5, TEXT),
    "models": (["a", "b"], ("a", "b"), "a", LIST),
    "allowed_tools": ("Read, Bash(git a, b)", ("Read", "Bash(git a, b)"), 3, 'must be "all", or tools as a list'),
    "approval_mode": ("", None, "yes", APPROVAL),
    "sandbox_mode": ("full", "full", "none", SANDBOX),
    "system_prompt": ("Be brief.", "Be brief.", ["x"], TEXT),
    "extra_flags": (["--x", "y"], ("--x", "y"), ["a", 3], TEXT),
    "executable": ("/opt/c", "/opt/c", "a\0b", TEXT),
    "max_retries": (0, 0, 11, "must be a whole number from 0 to 10"),
    "warm": (0, 0, 257, "must be a whole number from 0 to 256"),
}
CUSTOM = {
    "command": (["prog", "x"], ("prog", "x"), [], "must begin with the name or the absolute path of a program"),
    "prompt_by": ("stdin", "stdin", "telepathy", "must be one of stdin, argument, file"),
    "newline_before": (["/"], ("/",), "/", LIST),
    "refuses": ({"^!": "a shell"}, {"^!": "a shell"}, {"(": "x"}, "is no regular expression"),
    "option_args": ({"model": "--m={value}"}, {"model": ("--m={value}",)}, {"modl": "x"}, "is no option"),
    "option_env": ({"model": {"M": "{value}"}}, {"model": {"M": "{value}"}}, {"model": "x"}, "must be a mapping"),
    "environment": ({"A": 1, "B": True}, {"A": "1", "B": "true"}, ["A=1"], TABLE),
    "pass_env": (["A"], ("A",), ["A B"], "must be the name of an environment variable"),
    "files": ({"c.json": "{}"}, {"c.json": "{}"}, {"../c": "x"}, "must be a plain file name"),
    "leftovers": ([".x/*"], (".x/*",), {}, LIST),
    "start_in_advance": (True, True, "x", TRUTH),
    "output": ("text", "text", "xml", "must be one of text, jsonl"),
    "text_path": ("a.b", "a.b", 3, TEXT),
    "text_when": ({"type": "t"}, {"type": "t"}, "t", TABLE),
    "thinking_path": ("a", "a", [], TEXT),
    "thinking_when": ({"n": 3}, {"n": "3"}, 3, TABLE),
    "message_when": ({"x": True}, {"x": "true"}, {"x": []}, TABLE),
    "final_when": ({"x": "y"}, {"x": "y"}, ["x"], TABLE),
    "error_path": ("e", "e", 1, TEXT),
    "error_when": ({"e": 1.5}, {"e": "1.5"}, "e", TABLE),
    "error_status_path": ("s", "s", 5, TEXT),
    "session_path": ("id", "id", {}, TEXT),
    "usage_paths": ({"input_tokens": ["a"]}, {"input_tokens": ("a",)}, {"tokens": "a"}, "is no kind of tokens"),
    "cost_path": ("c", "c", 0.5, TEXT),
    "usage_is": ("increment", "increment", "sum", "must be one of total, increment"),
    "failures": ({"quota": "rate_limited"}, {"quota": "rate_limited"}, {"x": "y"}, "'y' is no code"),
    "version_args": (["-V"], ("-V",), "-V", LIST),
    "install_hint": ("pip install x", "pip install x", 3, TEXT),
    "login_hint": ("run x login", "run x login", 3, TEXT),
}
OTHERS = {
    "default_backend": ("codex", "codex", "cluade", "must name a backend, not 'cluade'; did you mean claude?"),
    "session.auto_resume": (False, False, "x", TRUTH),
    "session.retention_days": (0, 0, -1, "must be a whole number from 0 to 36500"),
    "session.store_token_usage": (False, False, "x", TRUTH),
    "session.store_turns": (True, True, "x", TRUTH),
    "session.default_tags": (["a"], ("a",), "a", LIST),
    "session.database_url": ("postgresql://h/d", "postgresql://h/d", "mysql://h", "must be a URL that begins with"),
    "session.keep_warm_secs": (60, 60.0, -1, SPAN),
    "output.format": ("text", "text", "xml", "must be one of default, text, json, stream-json"),
    "output.show_tokens": (True, True, "x", TRUTH),
    "output.show_timing": (True, True, "x", TRUTH),
    "output.color": (False, False, "x", TRUTH),
    "parallel.max_workers": (10, 10, 0, "must be a whole number from 1 to 100"),
    "parallel.fail_fast": (True, True, "x", TRUTH),
    "parallel.aggregate_output": (False, False, "x", TRUTH),
    "sdk.tools": ("cli", "cli", "all", "must be one of none, cli"),
}
TABLES = {
    **{f"server.{key}": case for key, case in SERVER.items()},
    **{f"unified_flags.{key}": case for key, case in UNIFIED.items()},
    **{f"backends.claude.{key}": case for key, case in BACKEND.items()},
    **{f"backends.llm.{key}": case for key, case in CUSTOM.items()},
    **OTHERS,
}


def tree_for(key: str, value: Any) -> dict[str, Any]:
    """A file with the key, and whatever the key needs beside it."""
    tree = nested(key, value)
    _, _, last = key.rpartition(".")
    if key.startswith("backends.llm."):
        needs_lines = last.endswith(("_path", "_when", "_paths")) and last != "text_path"
        tree["backends"]["llm"] |= JSONL if needs_lines and last not in JSONL else {}
        if last == "text_path":
            tree["backends"]["llm"]["output"] = "jsonl"
    if key == "server.rate_limit_storage_uri":
        tree["server"]["rate_limit_enabled"] = True
    return tree


def value_in(config: Config, key: str) -> Any:
    """The value that a key has become."""
    found: Any = config
    for name in key.split("."):
        if isinstance(found, dict):
            found = found[name]
        elif isinstance(found, BackendSettings) and name in CUSTOM:
            found = getattr(found.custom, name)
        else:
            found = getattr(found, name)
    return found


@pytest.mark.parametrize("key", TABLES)
def test_takes_a_good_value(tmp_path: Path, key: str) -> None:
    good, expected, _, _ = TABLES[key]
    value = value_in(read(tmp_path, tree_for(key, good)), key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("key", TABLES)
def test_refuses_a_bad_value_by_its_path(tmp_path: Path, key: str) -> None:
    _, _, bad, message = TABLES[key]
    (problem,) = problems(tmp_path, tree_for(key, bad))
    assert re.fullmatch(re.escape(key) + r"([.\[].*)?", problem.location)
    assert problem.message.startswith(message)


@pytest.mark.parametrize("key", [*TABLES, "server", "unified_flags", "session", "output", "parallel", "sdk"])
def test_refuses_a_mapping_in_place_of_a_list_and_a_list_in_place_of_a_mapping(tmp_path: Path, key: str) -> None:
    strange: Any = [["x"]] if key.count(".") == 0 and key != "default_backend" else {"x": {"y": []}}
    assert [problem for problem in problems(tmp_path, tree_for(key, strange)) if problem.location.startswith(key)]


@pytest.mark.parametrize("key", sorted(set(TABLES) - {"backends.llm.command"}))
def test_a_key_without_a_value_is_as_good_as_absent(tmp_path: Path, key: str) -> None:
    without: Any = {"backends": {"llm": {"command": ["llm", "prompt"]}}} if ".llm." in key else {}
    assert read(tmp_path, nested(key, None)) == read(tmp_path, without)


def test_the_table_is_complete() -> None:
    assert {key for key in TABLES if not key.startswith("backends.")} == set(sections("", ConfigSection())) - {
        "backends"
    }
    assert set(BACKEND) == {field.name for field in fields(BackendSettings)} - {"custom"}
    assert set(CUSTOM) == {field.name for field in fields(CustomCommand)}


def sections(prefix: str, schema: Any) -> Iterator[str]:
    for name, field in schema.fields.items():
        inner = getattr(field, "schema", None)
        yield from sections(f"{prefix}{name}.", inner) if inner else [f"{prefix}{name}"]


def test_schemas_and_dataclasses_have_the_same_keys() -> None:
    for name, field in ConfigSection().fields.items():
        if shape := getattr(getattr(field, "schema", None), "shape", None):
            assert is_dataclass(shape)
            own = {one.name for one in fields(shape)} - {"api_keys"}
            assert set(field.schema.fields) == own, name  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("tree", "location", "message"),
    [
        ({"sevrer": {}}, "sevrer", "unknown key; did you mean server?"),
        (
            {"server": {"warm_at_start": [{"backend": "x"}]}},
            "server.warm_at_start[0].backend",
            "must name a backend, not",
        ),
        ({"server": {"warm_at_start": [{"bakend": 1}]}}, "server.warm_at_start[0].bakend", "unknown key; did you mean"),
        ({"server": {"prot": 1}}, "server.prot", "unknown key; did you mean port?"),
        ({"server": {"zzz": 1}}, "server.zzz", "unknown key; known are host, port, "),
        ({"backends": {"claude": {"modle": "x"}}}, "backends.claude.modle", "unknown key; did you mean model?"),
        ({"backends": {"cluade": {"model": "x"}}}, "backends.cluade", "unknown backend; did you mean claude?"),
        ({"backends": {"Bad Name": {"command": ["x"]}}}, "backends.Bad Name", "is no name for a backend"),
        ({"backends": {"claude": {"command": ["x"]}}}, "backends.claude", "claude is built in and takes no command"),
        ({"backends": ["claude"]}, "backends", "must be a mapping"),
        ({"backends": {"claude": 3}}, "backends.claude", "must be a mapping"),
        ({"server": {"api_keys": ["s3cret"]}}, "server.api_keys", "keys are not kept in the configuration file"),
        ({1: 2}, "[1]", "unknown key"),
    ],
)
def test_names_what_is_unknown_or_misplaced(tmp_path: Path, tree: Any, location: str, message: str) -> None:
    (problem,) = problems(tmp_path, tree)
    assert problem.location == location
    assert problem.message.startswith(message)
    assert "s3cret" not in problem.message


def test_tells_all_problems_at_once_and_the_values_at_fault(tmp_path: Path) -> None:
    tree = {"server": {"port": "x", "prot": 1, "workers": True}, "sdk": {"tools": "x" * 100}}
    told = {problem.location: problem.message for problem in problems(tmp_path, tree)}
    assert told["server.port"].endswith("; it is 'x'")
    assert told["server.workers"].endswith("; it is true")
    assert told["sdk.tools"].endswith("xxx...")
    assert set(told) == {"server.port", "server.prot", "server.workers", "sdk.tools"}


@pytest.mark.parametrize("key", ["server.rate_limit_storage_uri", "session.database_url"])
def test_shows_no_secret(tmp_path: Path, key: str) -> None:
    (problem,) = problems(tmp_path, nested(key, "ftp://user:s3cret@host"))
    assert "s3cret" not in problem.message


@pytest.mark.parametrize(("value", "expected"), [("all", None), ("", None), ([], ()), (["Read"], ("Read",))])
def test_allowed_tools_are_all_or_some_or_none(tmp_path: Path, value: Any, expected: Any) -> None:
    assert value_in(
        read(tmp_path, nested("backends.claude.allowed_tools", value)), "backends.claude.allowed_tools"
    ) == (expected)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "unix:/run/x.sock"])
def test_hosts(tmp_path: Path, host: str) -> None:
    assert read(tmp_path, nested("server.host", host)).server.host == host


@pytest.mark.parametrize(
    "origin", ["*", "https://a.b", "http://localhost:*", "http://[::1]:8080", "vscode-webview://x"]
)
def test_origins(tmp_path: Path, origin: str) -> None:
    assert read(tmp_path, nested("server.cors_allowed_origins", [origin])).server.cors_allowed_origins == (origin,)


@pytest.mark.parametrize("origin", ["https://a.b/path", "https://", "null", "https://*.b", "https://a b"])
def test_what_is_no_origin(tmp_path: Path, origin: str) -> None:
    assert problems(tmp_path, nested("server.cors_allowed_origins", [origin]))


def test_modes_default_to_all(tmp_path: Path) -> None:
    assert read(tmp_path, "").server.allowed_approval_modes == APPROVAL_MODES
