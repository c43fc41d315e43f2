"""The fake model server, in a process of its own: what it computes must not hold up who measures."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.client import Connection
from bench.harness import START_S, free_port

AT_ONCE = "FAKE:n=20"
PACED = "FAKE:n=20 FAKE:delay=0.02"
"""Words of a prompt: twenty pieces of text, without delay or 20 ms before each."""


@contextmanager
def model_server() -> Iterator[str]:
    """The address of a running one."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.fake_upstream", "--port", str(port)],
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it says where it listens
        with Connection(port) as connection:
            connection.get("/v1/models")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=START_S)
