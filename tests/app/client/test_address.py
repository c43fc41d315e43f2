"""Where a client looks for the server, and which key it sends there."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from app.client.address import Address, Surroundings, listening_address, parse_address
from app.client.errors import ClientError
from app.config import ConfigError


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("http://127.0.0.1:8080", Address("http://127.0.0.1:8080"), True),
        ("http://127.0.0.1:8080/", Address("http://127.0.0.1:8080"), True),
        ("http://localhost:1", Address("http://localhost:1"), True),
        ("http://[::1]:1", Address("http://[::1]:1"), True),
        ("https://ai.example.com/clinvk", Address("https://ai.example.com/clinvk"), False),
        ("http://10.0.0.1:8080", Address("http://10.0.0.1:8080"), False),
        ("http://localhost.example.com", Address("http://localhost.example.com"), False),
        ("unix:/run/clinvk.sock", Address("http://localhost", "/run/clinvk.sock"), True),
    ],
)
def test_an_address_that_is_named(text: str, address: Address, local: bool) -> None:
    assert parse_address(text) == address
    assert parse_address(text).is_local is local


@pytest.mark.parametrize(
    "text",
    ["", "localhost:8080", "ftp://x", "http://", "http://h:x", "http://u:p@h", "http://h/?q", "unix:", "http://h:0"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ClientError) as told:
        parse_address(text)
    assert told.value.exit_code == 2


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("unix:/run/x", "unix:/run/x"),
        ("example.com", "http://example.com:80"),
    ],
)
def test_where_a_server_listens(host: str, shown: str) -> None:
    assert str(listening_address(host, 80)) == shown


def surroundings(folder: Path, text: str = "", url: str | None = None, **environ: str) -> Surroundings:
    (folder / "config.yaml").write_text(text)
    own: Mapping[str, str] = {"HOME": str(folder), "PATH": "/usr/bin", **environ}
    return Surroundings(folder / "config.yaml", url, own)


def test_the_flag_goes_before_the_variable_and_that_before_the_configuration(tmp_path: Path) -> None:
    text = "server: {port: 1111}"
    assert str(surroundings(tmp_path, text).address) == "http://127.0.0.1:1111"
    assert str(surroundings(tmp_path, text, CLINVK_URL="http://h:2").address) == "http://h:2"
    assert str(surroundings(tmp_path, text, "http://h:3", CLINVK_URL="http://h:2").address) == "http://h:3"


def test_a_server_with_any_port_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"server\.port is 0"):
        _ = surroundings(tmp_path, "server: {port: 0}").address


def test_a_named_server_needs_no_configuration(tmp_path: Path) -> None:
    found = surroundings(tmp_path, "nonsense: 1", "https://ai.example.com", CLINVK_API_KEY=" own ")
    assert (str(found.address), found.key()) == ("https://ai.example.com", "own")
    with pytest.raises(ConfigError):
        _ = found.config


def test_the_servers_own_keys_stay_on_its_machine(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# mine\nfirst\nsecond\n")
    text = f"server: {{api_keys_file: {tmp_path / 'keys'}}}"
    assert surroundings(tmp_path, text).key() == "first"
    assert surroundings(tmp_path, text, CLINVK_API_KEYS="a,b").key() == "a"
    assert surroundings(tmp_path, text, CLINVK_API_KEYS="a,b", CLINVK_API_KEY="c").key() == "c"
    assert surroundings(tmp_path, text, "http://127.0.0.1:9").key() == "first"
    assert surroundings(tmp_path, text, "https://ai.example.com", CLINVK_API_KEYS="a,b").key() == ""
    assert surroundings(tmp_path).key() == ""


def test_keys_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"cannot be read .* CLINVK_API_KEY can give one"):
        surroundings(tmp_path, f"server: {{api_keys_file: {tmp_path / 'missing'}}}").key()
