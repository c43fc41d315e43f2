"""Where the keys come from; a source that fails never leaves the server open."""

import hmac
import os
from pathlib import Path

import pytest

from services import keys as under_test
from services.errors import ClinvkError
from services.keys import Gopass, Keys, read_keys
from services.process import run_apart
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


@pytest.mark.parametrize("presented", ["first", "last", "lasu", "", "x" * 10_000, "\u00e9", "\udcff"])
def test_the_time_it_takes_tells_nothing_of_a_key(presented: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess is compared with every key, and never character by character: by digests of one length."""
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(under_test, "compare_digest", compare)
    keys = Keys(["first", "middle", "last"])
    if presented in {"first", "last"}:
        assert keys.owner_of(presented) in keys.owners
    else:
        with pytest.raises(ClinvkError):
            keys.owner_of(presented)
    assert len(compared) == 3
    assert {len(digest) for pair in compared for digest in pair} == {64}


def test_a_gopass_that_hangs_is_ended_and_closes_the_server() -> None:
    def hanging(argv: list[str], timeout_s: float) -> tuple[int, str, str]:
        assert (argv[:3], timeout_s) == (["gopass", "show", "--password"], 20)
        return run_apart(["sh", "-c", "echo key; sleep 60"], os.environ, 0.2)

    with pytest.raises(ClinvkError, match="it did not answer in time"):
        read_keys(ServerSettings(api_keys_gopass_path="a/b"), hanging)
