"""A small application in place of the real one, for tests of the server process alone."""

import ctypes
import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator

from flask import Flask, Response, request

from services.descendants import MARKER, instance_id
from services.tracing import request_id


class Services:
    """Prints what it is told, and when."""

    def begin_stop(self) -> None:
        self._tell("begin_stop")

    def end_all_runs(self) -> None:
        self._tell("end_all_runs")
        self.ended = True

    def close(self) -> None:
        self._tell("close")

    ended = False

    def _tell(self, what: str) -> None:
        print(f"services: {what} {time.monotonic():.3f} {os.getpid()}", flush=True)


services = Services()
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1 << 20
app.extensions["clinvk"] = services


@app.get("/health")
def health() -> tuple[dict[str, object], dict[str, str]]:
    told = {"worker": os.getpid(), "scheme": request.scheme, "script": request.script_root}
    return told, {"X-Request-Id": "health-1"}


@app.get("/dumpable")
def dumpable() -> dict[str, int]:
    return {"dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)}  # PR_GET_DUMPABLE


@app.post("/start")
def start() -> dict[str, int]:
    """Start a process that bears the mark of a run, as the engine does."""
    marker = f"{instance_id()}.{os.getpid()}.run"
    return {"pid": subprocess.Popen(["sleep", "60"], env={**os.environ, MARKER: marker}, start_new_session=True).pid}


@app.post("/echo")
def echo() -> dict[str, int]:
    return {"bytes": len(request.get_data())}


@app.post("/refuse")
def refuse() -> tuple[dict[str, int], int]:
    return {"bytes": 0}, 401


@app.get("/close")
def close() -> Response:
    return Response("bye", headers={"Connection": "close"})


@app.get("/endless")
def endless() -> Response:
    """Sends as fast as it is read."""
    name = request.args.get("name", "")

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            print(f"endless: {name} ended", flush=True)

    return Response(pieces())


@app.get("/broken")
def broken() -> Response:
    """Fails where no error handler of the application sees it."""

    return Response(str(int(word)) for word in ["s3cret"])


@app.get("/log")
def write_log() -> dict[str, str]:
    """Logs as the services and Flask do, while it works on a request, and fails."""
    request_id.set(request.args["id"])
    logging.getLogger("services.standin").info("told by a service")
    logging.getLogger("some.library").warning("told by a library")
    logging.getLogger("some.library").info("what nobody needs")
    raise ValueError("told by Flask")


working: list[int] = []
numbers: list[int] = []


@app.get("/work")
def work() -> dict[str, int]:
    """Takes a moment before it answers; says how many did at the same time at most."""
    working.append(1)
    numbers.append(len(working))
    time.sleep(0.02)
    working.pop()
    return {"most": max(numbers)}


released = threading.Event()


@app.get("/hold")
def hold() -> dict[str, bool]:
    """Waits for ``/release`` before it answers."""
    return {"released": released.wait(60)}


@app.get("/release")
def release() -> dict[str, bool]:
    released.set()
    return {"released": True}


@app.get("/run")
def run() -> Response:
    """Streams until the services end it, or for as long as the request says."""
    until = time.monotonic() + float(request.args.get("secs", "60"))

    def pieces() -> Iterator[bytes]:
        yield b"begun "
        while time.monotonic() < until and not services.ended:
            time.sleep(0.02)
        yield b"ended" if services.ended else b"done"

    return Response(pieces())
