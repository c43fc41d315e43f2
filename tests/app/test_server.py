"""gunicorn's settings, as the configuration makes them, and the same for both ways to start."""

import resource
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gunicorn.app.wsgiapp import WSGIApplication

from app.addresses import bind_address
from app.hooks import make_undumpable
from app.server import Server, open_files, settings
from app.source import Source, memory_bytes, share_of_worker, source
from services.settings import BackendSettings, Config, ServerSettings
from tests.support.guard import ROOT


def config(**server: Any) -> Config:
    return Config(home=Path("/h"), server=ServerSettings(**{"max_concurrent_runs": 8, **server}))


def test_the_settings_follow_from_the_configuration() -> None:
    made = settings(
        config(
            port=9000,
            max_queued_runs=10,
            idle_timeout_secs=0.5,
            graceful_timeout_secs=7.5,
            trusted_proxies=("10.0.0.0/8", "::1"),
        )
    )
    assert made["bind"] == ["127.0.0.1:9000"]
    assert made["threads"] == 8 + 10 + 16
    assert made["keepalive"] == 1
    assert made["graceful_timeout"] == 13
    assert made["forwarded_allow_ips"] == "10.0.0.0/8,::1"
    assert made["control_socket_disable"] is True
    assert made["worker_connections"] > made["threads"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("::1", "[::1]:80"),
        ("localhost", "localhost:80"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_addresses_as_gunicorn_writes_them(host: str, address: str) -> None:
    assert bind_address(host, 80) == address


def test_workers_share_what_is_limited_in_all() -> None:
    whole = config(workers=3, max_queued_runs=10, max_runs_per_key=0, warm_processes=4)
    share = share_of_worker(whole).server
    assert (share.max_concurrent_runs, share.max_queued_runs) == (3, 4)
    assert (share.max_runs_per_key, share.warm_processes) == (0, 2)
    assert settings(whole)["threads"] == 3 + 4 + 16
    assert share_of_worker(config()) == config()


def test_workers_share_what_each_backend_may_start_in_advance() -> None:
    backends = {"claude": BackendSettings(warm=3), "codex": BackendSettings(warm=0), "gemini": BackendSettings(warm=4)}
    share = share_of_worker(replace(config(workers=2), backends=backends)).backends
    assert [share[name].warm for name in backends] == [2, 0, 2]


def test_enough_files_may_be_open() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(8192, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_memory_is_what_the_machine_has_at_most() -> None:
    kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert 0 < memory_bytes() <= kib * 1024


@pytest.fixture
def fresh_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Source]:
    """The source of the configuration as it is in a new process, with a file of its own."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "server: {port: 9999, host: '::1', idle_timeout_secs: 3, trusted_proxies: [10.0.0.0/8], max_concurrent_runs: 5}"
    )
    monkeypatch.setenv("CLINVK_CONFIG", str(file))
    yield source
    source.good, source.path, source.overrides = None, None, {}


def comparable(value: Any) -> Any:
    return (value.func, value.args) if isinstance(value, partial) else value


def all_settings(cfg: Any) -> dict[str, Any]:
    return {name: comparable(setting.get()) for name, setting in cfg.settings.items()}


def test_both_ways_to_start_give_gunicorn_the_same_settings(
    fresh_source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["gunicorn", "wsgi:app"])
    monkeypatch.chdir(ROOT)
    by_gunicorn = all_settings(WSGIApplication().cfg)
    fresh_source.good = None
    by_clinvk = all_settings(Server().cfg)
    differences = {name for name in by_gunicorn if by_gunicorn[name] != by_clinvk[name]}
    assert differences <= {"config", "default_proc_name"}  # how gunicorn was called, which is of no consequence
    assert by_clinvk["bind"] == ["[::1]:9999"]


def test_flags_stay_above_the_file_when_it_is_read_again(fresh_source: Source, tmp_path: Path) -> None:
    fresh_source.overrides = {"server.port": 1111}
    assert fresh_source.current().server.port == 1111
    (tmp_path / "config.yaml").write_text("server: {port: 2222, idle_timeout_secs: 9}")
    again = fresh_source.read_again()
    assert (again.server.port, again.server.idle_timeout_secs) == (1111, 9)
    assert fresh_source.current().server.idle_timeout_secs == 3


def test_the_address_stays_when_the_file_changes_it(
    fresh_source: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert fresh_source.current().server.port == 9999
    (tmp_path / "config.yaml").write_text("server: {port: 2222}")
    assert (fresh_source.read_again().server.host, fresh_source.read_again().server.port) == ("::1", 9999)
    assert "they take effect at the next start" in caplog.text


def test_undumpable_can_be_said_twice() -> None:
    make_undumpable()
    make_undumpable()
