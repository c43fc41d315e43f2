"""What one section demands of another."""

from pathlib import Path
from typing import Any

import pytest

from tests.app.config.reading import problems

KEYS = {"CLINVK_API_KEYS": "k"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "my-machine"])
def test_without_a_key_only_this_machine_can_be_listened_to(tmp_path: Path, host: str) -> None:
    (problem,) = problems(tmp_path, {"server": {"host": host}})
    assert problem.location == "server.host"
    assert problem.message.startswith(f"{host} can be reached from the network and no API key is configured")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "unix:/run/clinvk.sock"])
def test_this_machine_needs_no_key(tmp_path: Path, host: str) -> None:
    assert problems(tmp_path, {"server": {"host": host}}) == []


@pytest.mark.parametrize(
    ("server", "environ"),
    [
        ({}, KEYS),
        ({"api_keys_file": "/run/keys"}, {}),
        ({"api_keys_gopass_path": "a/b"}, {}),
        ({}, {"CLINVK_API_KEYS_GOPASS_PATH": "a/b"}),
        ({"allow_unauthenticated_network": True}, {}),
    ],
)
def test_any_source_of_keys_or_the_explicit_word_opens_the_network(
    tmp_path: Path, server: dict[str, Any], environ: dict[str, str]
) -> None:
    assert problems(tmp_path, {"server": {"host": "0.0.0.0", **server}}, environ) == []


@pytest.mark.parametrize(
    ("server", "location", "message"),
    [
        ({"rate_limit_enabled": True, "workers": 2}, "server.rate_limit_storage_uri", "must be a redis:// URL when"),
        ({"rate_limit_enabled": True, "rate_limit_rps": 0}, "server.rate_limit_rps", "must be above 0"),
        ({"rate_limit_enabled": True, "rate_limit_burst": 0}, "server.rate_limit_burst", "must be above 0"),
        ({"cors_allow_credentials": True, "cors_allowed_origins": ["*"]}, "server.cors_allowed_origins", "must name"),
        ({"max_line_bytes": 4096, "max_output_bytes": 2048}, "server.max_line_bytes", "must not exceed"),
    ],
)
def test_contradictions(tmp_path: Path, server: dict[str, Any], location: str, message: str) -> None:
    (problem,) = problems(tmp_path, {"server": server})
    assert problem.location == location
    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    "server",
    [
        {"workers": 2},
        {"rate_limit_enabled": True},
        {"rate_limit_enabled": True, "workers": 2, "rate_limit_storage_uri": "redis://h"},
        {"rate_limit_rps": 0},
        {"cors_allow_credentials": True},
    ],
)
def test_what_only_looks_like_one(tmp_path: Path, server: dict[str, Any]) -> None:
    assert problems(tmp_path, {"server": server}) == []
