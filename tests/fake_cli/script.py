"""What the words in a prompt make the program do."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time

from tests.fake_cli.children import start_children
from tests.support.words import Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fake_cli.dialect import Dialect

GARBAGE = (
    b"this is no JSON\n", b"{\n", b"[]\n", b"null\n", b"42\n", b'"text"\n', b"\n", b"\x00\xff\xfe\n", b'{"type":7}\n',
    b'{"type":"nobody knows this"}\n', b'{"type":null,"message":[]}\n', b'{"method":{},"params":[]}\n',
    b'{"type":"message","role":"assistant","content":{"a":1}}\n', b'{"type":"\\ud800"}\n', b"[" * 5000 + b"\n",
    b'{"type":"stream_event","event":"text"}\n', b'{"id":99,"result":null}\n',
)  # fmt: skip


class Asked:
    """One question to the model, as the program understood it."""

    def __init__(self, prompt: str, *, model: str, system: str = "", turn: int = 1) -> None:
        self.prompt = prompt
        self.model = model
        self.system = system
        self.turn = turn

    def summary(self, name: str) -> str:
        """The beginning of the answer: what was seen."""
        return (
            f"fake-cli name={name} turn={self.turn} chars={len(self.prompt)} sha256={digest(self.prompt)} "
            f"model={self.model} sys={len(self.system)} sys_sha256={digest(self.system)} | "
        )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def perform(dialect: Dialect, asked: Asked, always: str) -> None:
    """Answer one question in the dialect's protocol, with everything its words ask for."""
    terminal = dialect.terminal
    words = Words(asked.prompt + " " + always)
    terminal.note("prompt", chars=len(asked.prompt), sha256=digest(asked.prompt), words=sorted(words.names))
    if words.has("ignore-term"):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        dialect.deaf = True
    if words.has("silent"):
        raise SystemExit(0)
    flood_stderr(int(words.number("stderr")))
    start_children(words)
    if dialect.rest(words.number("first")):
        return
    if words.has("garbage"):
        terminal.write(b"".join(GARBAGE))
        raise SystemExit(0)
    dialect.begin(asked)
    terminal.flush()
    terminal.note("begun")
    if words.has("toolong"):
        dialect.fail(400, "prompt is too long: 210000 tokens > 200000 maximum")
    elif status := words.status():
        dialect.fail(status, f"fake {status}")
    else:
        answer(dialect, asked, words)


def answer(dialect: Dialect, asked: Asked, words: Words) -> None:
    """Think, use the tool, say the text, end."""
    if words.has("think"):
        for word in ("let ", "me ", "think"):
            dialect.thinking(word)
    if words.has("tool") and use_tool(dialect, words.text("cmd", "echo from-the-tool")):
        return
    decision = dialect.approval("rm -rf /") if words.has("approve") else ""
    summary = asked.summary(dialect.name) + (f"decision={decision} | " if decision else "")
    if not speak(dialect, words, summary):
        return
    if words.has("noend"):
        raise SystemExit(0)
    dialect.finish()
    dialect.terminal.flush()
    if words.has("endcode"):
        raise SystemExit(int(words.number("endcode")))


def speak(dialect: Dialect, words: Words, summary: str) -> bool:
    """Say the text piece by piece; False when it was interrupted."""
    delay_s = words.number("delay")
    middle = 0 if words.has("early") else (int(words.number("n", 3)) + 1) // 2
    dialect.terminal.split_bytes = 3 if words.has("utf8") else 0
    for index, piece in enumerate(pieces(words, summary)):
        if index == middle and mishap(dialect, words):
            return False
        if dialect.rest(delay_s):
            return False
        dialect.text(f"t{time.monotonic_ns()} " if words.has("stamp") and index else piece)
        if words.has("noise"):
            dialect.terminal.write(GARBAGE[index % len(GARBAGE)])
        if not words.has("flood"):
            dialect.terminal.flush()
    return True


def pieces(words: Words, summary: str) -> Iterator[str]:
    """The text of the answer."""
    yield summary
    if words.has("env"):
        yield f"\nenv {json.dumps(dict(os.environ))}\n"
    if words.has("cwd"):
        yield f"\ncwd {json.dumps(os.getcwd())}\n"
    if words.has("argv"):
        yield f"\nargv {json.dumps(read_argv())}\n"
    if words.has("bigline"):
        yield "b" * int(words.number("bigline"))
    if words.has("flood"):
        size = int(words.number("piece", 1000))
        for number in range(int(words.number("flood", 32_000_000)) // size):
            yield f"{number:012d} ".ljust(size - 1, "f") + " "
    for number in range(int(words.number("n", 3))):
        yield f"é漢🎉{number} " if words.has("utf8") else f"w{number} "


def mishap(dialect: Dialect, words: Words) -> bool:
    """What goes wrong in the middle of the text; True when the answer was interrupted while hanging."""
    terminal = dialect.terminal
    terminal.flush()
    if words.has("die"):
        os.kill(os.getpid(), int(words.number("die", 9)))
        signal.pause()
    if words.has("exit"):
        raise SystemExit(int(words.number("exit")))
    while words.has("hang"):
        if dialect.rest(60):
            return True
    return False


def use_tool(dialect: Dialect, command: str) -> bool:
    """Run the command as the CLIs do, in a session of its own; True when it was interrupted."""
    import subprocess  # slow to load, and seldom needed

    dialect.tool_use("tool_1", command)
    dialect.terminal.flush()
    shell = ["/bin/sh", "-c", command]
    with subprocess.Popen(
        shell, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as tool:
        while tool.poll() is None:
            if dialect.rest(0.01):
                tool.kill()
                return True
        output = tool.stdout.read().decode() if tool.stdout else ""
    dialect.tool_result("tool_1", command, output, tool.returncode)
    return False


def flood_stderr(size: int) -> None:
    """Write so many bytes to stderr."""
    while size > 0:
        size -= os.write(2, (b"complaint " * 100)[:size])


def read_argv() -> list[str]:
    with open("/proc/self/cmdline", "rb") as handle:
        return handle.read().decode("utf-8", "surrogateescape").split("\0")[:-1]
