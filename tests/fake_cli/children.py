"""Processes that the program starts and leaves behind."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.support.words import Words

LIFE_S = "300"  # they end by themselves, should a test fail to see to it


def start_children(words: Words) -> None:
    """Start the children that the words ask for and wait until their pids are written."""
    for kind in ("child", "grandchild", "orphan"):
        if path := words.text(kind):
            start_child(path, kind, empty=words.has("emptyenv"), hold=words.has("holdpipe"))


def start_child(path: str, kind: str, *, empty: bool, hold: bool) -> None:
    first = os.fork()
    if first == 0:
        try:
            if kind != "child":
                os.setsid()
            if kind == "orphan" and os.fork():
                os._exit(0)
            become_sleep(path, empty=empty, hold=hold)
        finally:
            os._exit(1)
    if kind == "orphan":
        os.waitpid(first, 0)
    while not os.path.exists(path):
        os.sched_yield()


def become_sleep(path: str, *, empty: bool, hold: bool) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0,) if hold else (0, 1, 2):
        os.dup2(null, number)
    with open(path + ".new", "w") as handle:
        handle.write(str(os.getpid()))
    os.rename(path + ".new", path)
    os.execve("/bin/sleep", ["sleep", LIFE_S], {} if empty else dict(os.environ))
