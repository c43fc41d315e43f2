"""The real CLIs without a server, as their own users run them in scripts, with the prompt on stdin."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.client import RECEIVE_BYTES, wait_for_mark
from bench.watching import memory_of_tree
from tests.e2e import clis


@dataclass(frozen=True, slots=True)
class Bare:
    """A command line, and what stands in the first line of its output that has text of the model."""

    arguments: Sequence[str]
    mark: bytes


BARE: Mapping[str, Bare] = {
    "claude": Bare(
        ("-p", "--output-format", "stream-json", "--verbose", "--include-partial-messages", "--model"),
        b'"text_delta"',
    ),
    "codex": Bare(("exec", "--json", "--skip-git-repo-check", "-m"), b'"agent_message"'),
    "gemini": Bare(("--skip-trust", "-o", "stream-json", "-m"), b'"role":"assistant"'),
}
"""``exec --json`` of codex prints whole messages only: its first text comes with the last."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer.  ``first_s`` and ``total_s`` count from before the start or the request; ``memory_mb`` is that of

    the CLI's tree at its first text, 0 where it was not asked for; ``cpu_s`` is the whole of all processes that served
    it, from the start of each.
    """

    first_s: float
    total_s: float
    cpu_s: float
    memory_mb: float = 0.0


def environment(home: Path, url: str) -> dict[str, str]:
    """The whole environment of a CLI that asks the model server at ``url``; its home folder is prepared."""
    clis.prepare_home(home, url)
    path = clis.search_path(home / "tools")
    return {"LANG": "C.UTF-8", "HOME": str(home), "PATH": path, **clis.provider_environment(url)}


def run_bare(name: str, prompt: str, clean: Mapping[str, str], *, with_memory: bool) -> Answered:
    """Run a CLI in an empty folder, to its end.  RuntimeError when it fails."""
    bare = BARE[name]
    folder = Path(clean["HOME"]) / "work"
    folder.mkdir(exist_ok=True)
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [str(clis.BIN / name), *bare.arguments, clis.MODELS[name]],
        cwd=folder,
        env=clean,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(prompt.encode())
        process.stdin.close()
        pieces = output_of(process.stdout.fileno())
        first_s = wait_for_mark(pieces, bare.mark)
        memory_mb = memory_of_tree(process.pid) if with_memory else 0.0
        for _ in pieces:
            pass
    _, status, used = os.wait4(process.pid, 0)
    total_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    return Answered(first_s - began_s, total_s, used.ru_utime + used.ru_stime, memory_mb)


def output_of(descriptor: int) -> Iterator[bytes]:
    """What comes out of a pipe, as it comes."""
    while data := os.read(descriptor, RECEIVE_BYTES):
        yield data
