"""What a person types."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from app import __version__
from app.cli import main
from tests.app.conftest import GUNICORN
from tests.support.guard import clean_environment
from tests.support.server import Entry, ServerFactory, wait_until_healthy
from tests.support.waiting import free_port

CLINVK = GUNICORN.with_name("clinvk")


def run(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = clean_environment(folder, "/usr/bin") | dict(environ or {})
    return subprocess.run(
        [str(CLINVK), *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=30, check=False
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"clinvk {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ["serve", "config", "config.yaml", "CLINVK_CONFIG", "CLINVK_HOME"]),
        (["serve"], ["--host", "--port", "--config", "--demo", "SIGTERM", "SIGHUP", "Exit code 2"]),
        (["config"], ["check"]),
        (["config", "check"], ["--config", "exit code 2"]),
    ],
)
def test_help_tells_what_there_is(capsys: pytest.CaptureFixture[str], arguments: list[str], told: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert [words for words in told if words not in shown] == []


@pytest.mark.parametrize("arguments", [[], ["config"], ["server"], ["serve", "--port", "x"], ["serve", "extra"]])
def test_a_wrong_command_line_is_told_with_the_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: clinvk")


def test_check_prints_what_is_in_force(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check"]) == 0
    out = capsys.readouterr().out
    assert f"# {home}/.clinvk/config.yaml (there is none: these are the defaults)" in out
    assert yaml.safe_load(out)["server"]["port"] == 8080


def test_check_reads_the_file_it_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("server: {port: 1234}")
    assert main(["config", "check", "--config", str(file)]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["server"]["port"] == 1234


def test_check_counts_keys_and_shows_none(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "check", environ={"CLINVK_API_KEYS": "s3cret-1,s3cret-2"})
    assert "# API keys from the environment: 2" in done.stdout
    assert "s3cret" not in done.stdout


def test_check_tells_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("server: {prot: 1, port: x}")
    done = run(tmp_path, "config", "check", "--config", "mine.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"clinvk: 2 configuration errors in {file}:\n"
        "  server.port: must be a whole number from 0 to 65535; it is 'x'\n"
        "  server.prot: unknown key; did you mean port?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "70000"], "server.port: must be a whole number from 0 to 65535; it is 70000 (from --port)"),
        (["--host", "0.0.0.0"], "server.host: 0.0.0.0 can be reached from the network"),
        (["--config", "missing.yaml"], "missing.yaml: there is no such file"),
    ],
)
def test_serve_does_not_start_with_flags_that_cannot_be(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = run(tmp_path, "serve", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("clinvk: configuration error")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("other", ["clinvk", "gunicorn"])
def test_both_ways_to_start_are_the_same_server(start_server: ServerFactory, other: Entry) -> None:
    server = start_server({"backends": {"demo": {"enabled": True}}}, entry=other)
    told = server.client.get("/health").json()
    assert [backend["name"] for backend in told["backends"]] == ["claude", "codex", "gemini", "demo"]
    assert (told["version"], told["runs"]["limit"]) == (__version__, 8)
    assert server.client.prompt("hello", backend="demo").json()["exit_code"] == 0
    assert server.stop() == 0


def test_serve_takes_its_flags(start_server: ServerFactory) -> None:
    port = free_port()
    server = start_server({"server": {"port": 1}}, arguments=("--demo", "--port", str(port)), wait=False)
    server.port = port
    wait_until_healthy(server)
    assert "demo" in [backend["name"] for backend in server.client.get("/health").json()["backends"]]
