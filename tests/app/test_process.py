"""The life of the server process: starts that must fail, HUP, TERM, dead workers."""

import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from app.worker import Worker
from tests.app.conftest import GUNICORN, Running, Start, answers
from tests.support.guard import ROOT, clean_environment
from tests.support.waiting import free_port, wait_until

GRACE_S = 1.0
CLINVK = GUNICORN.with_name("clinvk")


def finish(running: Running, timeout_s: float = 20) -> int:
    return running.process.wait(timeout_s)


# ---------------------------------------------------------------------- starts that must fail


@pytest.mark.parametrize(
    ("arguments", "server", "said"),
    [
        ((), {"prot": 1}, "server.prot: unknown key; did you mean port?"),
        ((), {"host": "0.0.0.0"}, "server.host: 0.0.0.0 can be reached from the network"),
        (("-b", "0.0.0.0:{port}"), {}, "configuration error: 0.0.0.0 can be reached from the network"),
        (("-w", "3"), {}, "gunicorn's workers is 3, the configuration makes it 1"),
        (("--preload",), {}, "gunicorn's preload_app is True, the configuration makes it False"),
    ],
)
def test_gunicorn_does_not_start(start: Start, arguments: tuple[str, ...], server: dict[str, Any], said: str) -> None:
    given = [argument.format(port=free_port()) for argument in arguments]
    running = start(*given, wait=False, **server)
    assert finish(running) == 2
    (line,) = [line for line in running.log.splitlines() if line.startswith("clinvk: ")]
    assert said in line
    assert "Traceback" not in running.log


@pytest.mark.parametrize("command", [[str(CLINVK), "serve"], [str(GUNICORN), "wsgi:app"]])
def test_both_ways_to_start_say_the_same_of_a_bad_configuration(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server:\n  port: many\n")
    environ = clean_environment(tmp_path, os.environ["PATH"]) | {"CLINVK_CONFIG": str(file)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    told = "server.port: must be a whole number from 0 to 65535; it is 'many'"
    assert done.stderr == f"clinvk: configuration error in {file}: {told}\n"
    assert done.stdout == ""


def test_an_address_given_to_gunicorn_is_fine_when_there_are_keys(start: Start) -> None:
    port = free_port()
    running = start("-b", f"0.0.0.0:{port}", wait=False, environ={"CLINVK_API_KEYS": "key"})
    running.port = port
    wait_until(lambda: answers(running), 20)


def test_the_home_folder_is_made_for_this_user_alone(start: Start, tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    start(environ={"CLINVK_HOME": str(home)})
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_folder_that_cannot_be_made_is_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    running = start(environ={"CLINVK_HOME": str(tmp_path / "file")}, wait=False)
    assert finish(running) == 2
    assert "the home folder" in running.log
    assert "cannot be made: File exists (CLINVK_HOME moves it)" in running.log


@pytest.mark.parametrize("command", [[str(CLINVK), "serve"], [str(GUNICORN), "wsgi:app"]])
def test_keys_that_cannot_be_read_stop_the_start(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"server: {{port: {free_port()}, api_keys_file: {tmp_path / 'keys'}}}")
    environ = clean_environment(tmp_path, os.environ["PATH"]) | {"CLINVK_CONFIG": str(file)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("clinvk: ")]
    told = f"the API keys cannot be read from server.api_keys_file {tmp_path / 'keys'}: No such file or directory"
    assert line == f"clinvk: configuration error: {told}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [[str(CLINVK), "serve"], [str(GUNICORN), "wsgi:app"]])
def test_an_address_in_use_is_told_at_once(tmp_path: Path, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refusal(tmp_path, command, "127.0.0.1", port)
    assert told == f"127.0.0.1:{port} is in use: end what listens there, or choose another port (--port, server.port)"


@pytest.mark.parametrize(
    ("host", "why"),
    [("192.0.2.1", "Cannot assign requested address"), ("nowhere.invalid", "the name is not known")],
)
def test_an_address_that_is_not_of_this_machine_is_told(tmp_path: Path, host: str, why: str) -> None:
    port = free_port()
    assert refusal(tmp_path, [str(CLINVK), "serve"], host, port) == f"cannot listen on {host}:{port}: {why}"


def refusal(folder: Path, command: list[str], host: str, port: int) -> str:
    """The one line that a start ends with that cannot listen there."""
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({"server": {"host": host, "port": port, "allow_unauthenticated_network": True}}))
    environ = clean_environment(folder, os.environ["PATH"]) | {"CLINVK_CONFIG": str(file)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "gunicorn" not in line]
    return line.removeprefix("clinvk: ")


# ---------------------------------------------------------------------- HUP


@pytest.fixture(scope="module")
def lasting(start: Start) -> Running:
    """A server for the tests that leave it running."""
    return start(graceful_timeout_secs=10, idle_timeout_secs=1)


def test_hup_starts_workers_with_the_new_configuration_and_lets_the_old_ones_finish(lasting: Running) -> None:
    before = lasting.worker()
    with lasting.client.send("GET", "/run?secs=1.5") as exchange:
        assert exchange.status == 200
        lasting.configure(graceful_timeout_secs=10, read_timeout_secs=0.5)
        lasting.tell(signal.SIGHUP)
        wait_until(lambda: lasting.worker() != before)
        assert exchange.response().text == "begun done"
    with lasting.client.raw(b"") as sock:
        begun_s = time.monotonic()
        assert sock.recv(1) == b""
        assert time.monotonic() - begun_s < 2.5  # the default is 30 s
    assert lasting.process.poll() is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {port: x}", "server.port: must be a whole number"),
        ("server: [", "line 1, column 10: not valid YAML"),
        (None, "there is no such file"),
        ("server: {api_keys_file: /nowhere/keys}", "the API keys cannot be read from server.api_keys_file"),
        ("server: {api_keys_gopass_path: a/b}", "gopass is not installed"),
    ],
)
def test_hup_with_a_configuration_that_cannot_be_used_changes_nothing(
    lasting: Running, text: str | None, said: str
) -> None:
    before, told = lasting.worker(), lasting.log.count("nothing has changed")
    good = lasting.file.read_text()
    try:
        if text is None:
            lasting.file.unlink()
        else:
            lasting.file.write_text(text)
        lasting.tell(signal.SIGHUP)
        wait_until(lambda: lasting.log.count("nothing has changed") == told + 1)
        assert said in lasting.log
        assert lasting.worker() == before
        os.kill(before, signal.SIGKILL)  # a new worker has what was good, whatever the file says
        wait_until(lambda: answers(lasting) and lasting.worker() != before)
    finally:
        lasting.file.write_text(good)


def test_hup_asks_gopass_for_the_keys(start: Start, tmp_path: Path) -> None:
    gopass, key = tmp_path / "gopass", tmp_path / "key"
    gopass.write_text(f'#!/bin/sh\ntest "$*" = "show --password a/b" && cat {key}\n')
    gopass.chmod(0o755)
    key.write_text("secret")
    running = start(environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, api_keys_gopass_path="a/b")
    before = running.worker()
    key.unlink()
    running.tell(signal.SIGHUP)
    wait_until(lambda: "nothing has changed" in running.log)
    assert "the API keys cannot be read from gopass at a/b: exit code 1" in running.log
    assert running.worker() == before
    key.write_text("secret")
    running.tell(signal.SIGHUP)
    wait_until(lambda: running.worker() != before)
    assert "secret" not in running.log


def test_hup_does_not_move_the_server(lasting: Running) -> None:
    before, good = lasting.worker(), lasting.file.read_text()
    try:
        lasting.file.write_text(f"server: {{port: {free_port()}}}")
        lasting.tell(signal.SIGHUP)
        wait_until(lambda: lasting.worker() != before)
        assert "they take effect at the next start" in lasting.log
    finally:
        lasting.file.write_text(good)


def test_hup_does_not_open_an_address_that_gunicorn_was_given(start: Start) -> None:
    port = free_port()
    running = start("-b", f"0.0.0.0:{port}", wait=False, allow_unauthenticated_network=True)
    running.port = port
    wait_until(lambda: answers(running), 20)
    before = running.worker()
    running.configure(allow_unauthenticated_network=False)
    running.tell(signal.SIGHUP)
    wait_until(lambda: "nothing has changed" in running.log)
    assert running.worker() == before


# ---------------------------------------------------------------------- the log


def test_every_line_of_a_request_bears_its_id(lasting: Running) -> None:
    assert lasting.client.get("/log?id=r-17").status == 500
    lines = lasting.log.splitlines()
    (service,) = [line for line in lines if "told by a service" in line]
    (library,) = [line for line in lines if "told by a library" in line]
    (flask, *_) = [line for line in lines if "Exception on /log" in line]
    assert re.fullmatch(r"\[[^]]+\] \[\d+\] \[INFO\] \[r-17\] told by a service", service)
    assert library.endswith("[WARNING] [r-17] told by a library")
    assert "[ERROR] [r-17] " in flask
    assert "what nobody needs" not in lasting.log
    (start, *_) = [line for line in lines if "Booting worker" in line]
    assert "[INFO] [-] Booting worker" in start


def test_a_line_of_the_access_log_ends_with_the_id_of_the_response(start: Start) -> None:
    running = start("--access-logfile", "-")
    wait_until(lambda: '"GET /health HTTP/1.1" 200' in running.log)
    (line, *_) = [line for line in running.log.splitlines() if "/health" in line]
    assert line.endswith(" health-1")


# ---------------------------------------------------------------------- TERM and other ends


@pytest.fixture
def short(start: Start) -> Running:
    """A server for one test, that may end."""
    return start(graceful_timeout_secs=GRACE_S)


def test_term_ends_an_idle_server_at_once(short: Running) -> None:
    begun_s = time.monotonic()
    with short.client.raw(b""):  # a browser that has connected in advance
        short.tell(signal.SIGTERM)
        assert finish(short) == 0
    assert time.monotonic() - begun_s < 2 + 2.5
    assert len(short.times("begin_stop")) == len(short.times("close")) == 1


def test_term_lets_runs_end_within_the_grace(short: Running) -> None:
    with short.client.send("GET", "/run?secs=0.6") as exchange:
        assert exchange.status == 200
        short.tell(signal.SIGTERM)
        assert exchange.response().text == "begun done"
    assert finish(short) == 0
    assert short.times("end_all_runs") == []


def test_term_ends_runs_after_the_grace_and_lets_them_say_so(short: Running) -> None:
    with short.client.send("GET", "/run") as exchange:
        assert exchange.status == 200
        told_s = time.monotonic()
        short.tell(signal.SIGTERM)
        assert exchange.response().text == "begun ended"
        assert GRACE_S <= time.monotonic() - told_s <= GRACE_S + 1.5
    assert finish(short) == 0
    (begun_s,), (ended_s,), (closed_s,) = map(short.times, ("begin_stop", "end_all_runs", "close"))
    assert begun_s - told_s < 0.5
    assert ended_s - begun_s == pytest.approx(GRACE_S, abs=0.3)
    assert closed_s > ended_s


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_end_everything_at_once(short: Running, number: signal.Signals) -> None:
    with short.client.send("GET", "/run") as exchange:
        assert exchange.status == 200
        short.tell(number)
        told_s = time.monotonic()
        assert finish(short) == 0
    assert time.monotonic() - told_s < 3, short.log
    assert short.times("end_all_runs") == []
    assert len(short.times("close")) == 1


@pytest.mark.timeout(10)
def test_quit_does_not_wait_for_a_lock_that_the_interrupted_code_holds() -> None:
    worker = Worker.__new__(Worker)
    worker.cfg = SimpleNamespace(worker_int=lambda _: None)
    worker.tpool = ThreadPoolExecutor()
    with worker.tpool._shutdown_lock, pytest.raises(SystemExit):
        worker.handle_quit(signal.SIGQUIT, None)


def test_a_worker_whose_arbiter_was_killed_stops_too(short: Running) -> None:
    worker = psutil.Process(short.worker())
    short.tell(signal.SIGKILL)
    worker.wait(10)
    assert len(short.times("begin_stop")) == len(short.times("close")) == 1


def test_a_server_can_be_started_again_at_once_when_its_arbiter_was_killed(start: Start) -> None:
    killed = start(graceful_timeout_secs=10)
    worker = psutil.Process(killed.worker())
    with killed.client.send("GET", "/run") as exchange:
        assert exchange.status == 200
        killed.tell(signal.SIGKILL)
        finish(killed)
        again = start(port=killed.port)
        wait_until(lambda: is_another(again, worker.pid))
        assert again.process.poll() is None, again.log
        assert worker.is_running(), "the witness: it still has a client"
        worker.kill()


def test_what_a_killed_worker_left_is_ended_and_another_takes_its_place(short: Running) -> None:
    before = short.worker()
    left = psutil.Process(short.client.post("/start", {}).json()["pid"])
    os.kill(before, signal.SIGKILL)
    killed_s = time.monotonic()
    wait_until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE, 5)
    assert time.monotonic() - killed_s < 3
    wait_until(lambda: answers(short) and short.worker() != before)
    assert "had left" in short.log


def test_what_is_left_at_the_end_is_ended(short: Running) -> None:
    left = psutil.Process(short.client.post("/start", {}).json()["pid"])
    short.tell(signal.SIGTERM)
    finish(short)
    wait_until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE, 3)


def test_usr2_brings_a_successor_that_the_end_of_workers_does_not_touch(short: Running) -> None:
    short.tell(signal.SIGUSR2)
    arbiter = psutil.Process(short.process.pid)

    (heir,) = wait_until(lambda: [child for child in arbiter.children() if child.children()])
    try:
        os.kill(next(child.pid for child in arbiter.children() if child.pid != heir.pid), signal.SIGKILL)
        wait_until(lambda: "had left" in short.log or short.log.count("Booting worker") >= 3)
        short.tell(signal.SIGTERM)
        finish(short)
        assert heir.is_running()
        assert answers_on(short)
    finally:
        heir.terminate()
        heir.wait(10)


def is_another(running: Running, worker: int) -> bool:
    """Whether somebody else than this worker answers."""
    with suppress(OSError):
        return running.worker() != worker
    return False


def answers_on(running: Running) -> bool:
    with suppress(OSError):
        return running.client.get("/health").status == 200
    return False


def test_neither_arbiter_nor_workers_are_dumpable_but_what_they_start_is(short: Running) -> None:
    assert short.client.get("/dumpable").json() == {"dumpable": 0}
    child = short.client.post("/start", {}).json()["pid"]
    wait_until(lambda: b"CLINVK_RUN_ID=" in Path(f"/proc/{child}/environ").read_bytes())
