"""Where the keys come from; a source that fails never leaves the server open."""

from pathlib import Path

import pytest

from services.errors import ClinvkError
from services.keys import Gopass, read_keys
from services.settings import ServerSettings


def gopass(code: int = 0, output: str = "") -> Gopass:
    return lambda argv, timeout_s: (code, output, "secret noise")


def test_without_a_source_no_key_is_needed() -> None:
    assert not read_keys(ServerSettings(), gopass(1)).required


def test_the_environment_goes_before_the_file_and_that_before_gopass(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nfrom-file\n\n  second  \n")
    everything = ServerSettings(api_keys=("from-environment",), api_keys_file=str(file), api_keys_gopass_path="a/b")
    assert read_keys(everything, gopass(1)).owner_of("from-environment")
    keys = read_keys(ServerSettings(api_keys_file=str(file), api_keys_gopass_path="a/b"), gopass(1))
    assert keys.owner_of("from-file") != keys.owner_of("second")
    assert read_keys(ServerSettings(api_keys_gopass_path="a/b"), gopass(0, "one,two\nthree\n")).owner_of("three")


def test_a_source_that_fails_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    for server, command in (
        (ServerSettings(api_keys_file=str(tmp_path / "missing")), gopass()),
        (ServerSettings(api_keys_file=str(empty)), gopass()),
        (ServerSettings(api_keys_file=str(tmp_path)), gopass()),
        (ServerSettings(api_keys_gopass_path="a/b"), gopass(1, "key")),
        (ServerSettings(api_keys_gopass_path="a/b"), gopass(-1)),
        (ServerSettings(api_keys_gopass_path="a/b"), gopass(0, "\n")),
    ):
        with pytest.raises(ClinvkError) as caught:
            read_keys(server, command)
        assert "secret noise" not in caught.value.message
