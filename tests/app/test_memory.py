"""Another process of the same user, such as an agent that a CLI runs, tries to read the server's environment."""

import os
import subprocess
import sys

from tests.support.guard import ROOT

SECRET = "an-api-key-of-the-server"
SPY = """
import ctypes, os, signal, sys
from app.hooks import make_undumpable

libc = ctypes.CDLL(None, use_errno=True)
if os.geteuid() == 0:  # root may read everything because of its capabilities: give them up
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capset(header, none) == 0, os.strerror(ctypes.get_errno())

def started(prepare):
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        prepare()
        os.write(told, b"x")
        signal.pause()
    os.read(ready, 1)
    return pid

for prepare in (lambda: None, make_undumpable):
    pid = started(prepare)
    for name in ("environ", "mem", "maps", "fd/0"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                print(name, os.environb[b"THE_SECRET"] in file.read(100_000) if name == "environ" else "opened")
        except OSError as error:
            print(name, type(error).__name__)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


def test_the_servers_memory_and_environment_cannot_be_read_by_its_own_user() -> None:
    """First of a process that does not hide them, then of one that does."""
    environ = {"THE_SECRET": SECRET, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", SPY]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
    )
    bare, hidden = done.stdout.splitlines()[:4], done.stdout.splitlines()[4:]
    assert bare[0] == "environ True"
    assert hidden == [f"{name} PermissionError" for name in ("environ", "mem", "maps", "fd/0")]
