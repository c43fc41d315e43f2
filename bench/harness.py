"""A server to measure, a client that costs little, and the fake CLI."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

HERE = Path(__file__).parent
BUILD = HERE / ".build"
RECEIVE_BYTES = 1 << 20


def build_fake_cli() -> Path:
    """The folder with the fake ``claude``, compiled when its source is newer."""
    program, source = BUILD / "claude", HERE / "fake_claude.c"
    BUILD.mkdir(exist_ok=True)
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), str(source)], check=True)
    return BUILD


@dataclass(slots=True)
class Server:
    """A running server."""

    port: int
    process: psutil.Process

    def own(self) -> list[psutil.Process]:
        """The arbiter and its workers, without the CLIs."""
        return [self.process, *(p for p in self.process.children() if "claude" not in p.name())]

    def memory_mib(self) -> float:
        """Proportional memory of the arbiter and its workers together."""
        return sum(process.memory_full_info().pss for process in self.own()) / 2**20

    def peak_mib(self) -> float:
        """The highest resident memory that any worker has had (VmHWM)."""
        peaks = []
        for process in self.own():
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = re.search(r"VmHWM:\s+(\d+) kB", status)
            peaks.append(int(found[1]) / 1024 if found else 0.0)
        return max(peaks)


@contextmanager
def running_server(server: Mapping[str, Any], prepare: Callable[[Path], None] = lambda _: None) -> Iterator[Server]:
    """A server on a free port with these settings, whose only CLI is the fake one; ``prepare`` gets its home folder."""
    with tempfile.TemporaryDirectory(prefix="clinvk-bench-") as name, socket.socket() as probe:
        folder = Path(name)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump({"server": {"host": "127.0.0.1", "port": port, **server}}))
        (folder / ".clinvk").mkdir(mode=0o700)
        prepare(folder / ".clinvk")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("clinvk")), "serve", "--config", str(config)],
                env={"PATH": f"{build_fake_cli()}{os.pathsep}{os.defpath}", "HOME": name, "LANG": "C.UTF-8"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_healthy(port, process, folder / "log")
            yield Server(port, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(60)


def wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the first answer of ``/health``; SystemExit with the log when there is none."""
    give_up_s = time.monotonic() + 20
    while time.monotonic() < give_up_s and process.poll() is None:
        try:
            with Connection(port) as connection:
                connection.get("/health")
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


class Connection:
    """A kept-alive HTTP/1.1 connection that reads answers of a known length, or streams piece by piece."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return self._read_whole()

    def send(self, path: str, body: Mapping[str, Any]) -> None:
        """Send a POST and do not read yet."""
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a POST.  Raises RuntimeError when it is no success."""
        self.send(path, body)
        answer = json.loads(self._read_whole())
        if answer.get("exit_code", 0) != 0 or "error" in answer:
            raise RuntimeError(answer)
        return answer

    def pieces(self) -> Iterator[bytes]:
        """What comes, as it comes, until the last chunk of a stream."""
        tail = b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionError("the stream broke off")
            tail = (tail + data)[-7:]
            yield data

    def _read_whole(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._socket.recv(65536)
            if not piece:
                raise ConnectionError("no answer")
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        length = int(found[1]) if found else 0
        while len(body) < length:
            body += self._socket.recv(65536)
        return body

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def bare_start_s(prompt: str) -> float:
    """How long the fake CLI takes from its start to its end when nobody stands between."""
    line = json.dumps({"type": "user", "message": {"role": "user", "content": prompt}}).encode() + b"\n"
    program = shutil.which("claude", path=str(build_fake_cli()))
    assert program is not None
    began_s = time.perf_counter()
    subprocess.run([program, "-p"], input=line, capture_output=True, check=True)
    return time.perf_counter() - began_s
