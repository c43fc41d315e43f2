"""Stand in PATH for a program, run it, and write down what goes in and out: ``tap.py PROGRAM FOLDER ARGUMENT…``.

Each run becomes a file of JSON lines in the folder: ``argv``, then ``to`` and ``from`` the program as they come (its
``err``, too), and at last its ``exit`` code, negative for a signal.  It imports nothing of the project: it starts
as fast as it can.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
Note = Callable[[str, Any], None]


def install(folder: Path, name: str, program: Path, kept: Path) -> Path:
    """Make a program of this name in a folder that runs the real one and writes into ``kept``."""
    kept.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    stand_in = folder / name
    words = (sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(program), str(kept))
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    stand_in.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
    stand_in.chmod(0o755)
    return stand_in


def main(program: str, folder: str, *arguments: str) -> None:
    """Run the program as if it had been called itself, up to its end."""
    note = notes(Path(folder) / f"{time.time_ns()}-{os.getpid()}.jsonl")
    note("argv", [Path(program).name, *arguments])
    child = subprocess.Popen(
        [program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: child.send_signal(number))
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    start(pump, 0, child.stdin.fileno(), "to", note, child.stdin.close)
    outputs = [
        start(pump, child.stdout.fileno(), 1, "from", note, lambda: os.close(1)),
        start(pump, child.stderr.fileno(), 2, "err", note, lambda: None),
    ]
    exit_code = child.wait()
    for output in outputs:
        output.join(1.0)  # a descendant that lives on may hold it open
    note("exit", exit_code)
    end_as(exit_code)


def notes(path: Path) -> Note:
    """What appends an entry to the file, from any thread."""
    file, lock = path.open("a"), threading.Lock()

    def note(what: str, value: Any) -> None:
        with lock:
            file.write(json.dumps({what: value}) + "\n")
            file.flush()

    return note


def start(run: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=run, args=arguments, daemon=True)
    thread.start()
    return thread


def pump(source: int, sink: int, what: str, note: Note, close: Callable[[], None]) -> None:
    """Pass on what comes, and note each whole line before it is passed on, so that causes stand before effects."""
    rest = b""
    try:
        while data := os.read(source, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                note(what, parsed(line))
            while data:
                data = data[os.write(sink, data) :]
    except OSError:
        pass  # whoever read it is gone
    if rest:
        note(what, parsed(rest))
    close()


def parsed(line: bytes) -> Any:
    """A line as JSON, or as the text that it is."""
    try:
        return json.loads(line)
    except ValueError:
        return line.decode(errors="replace")


def end_as(exit_code: int) -> None:
    """End as the program did, by the same signal if it was one."""
    if exit_code < 0 and -exit_code != signal.SIGKILL:
        signal.signal(-exit_code, signal.SIG_DFL)
    if exit_code < 0:
        os.kill(os.getpid(), -exit_code)
    os._exit(exit_code)  # the thread that reads stdin may wait for ever


if __name__ == "__main__":
    main(*sys.argv[1:])
