"""How long the processes of a run outlive it: the real CLIs, in the middle of a text and of a tool, ended in each way.

``python -m tests.e2e.lifetimes`` prints the table, in seconds, and fails when a cell is out of its bounds.  A request
timeout counts from its time, a SIGTERM from the end of the grace.  The processes are found without the server's own
means: by a look at the process tree while the run goes on, by the server's folder in environment, arguments or
working folder, and by the tool's command line.
"""

import itertools
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal, get_args

import psutil

from tests.e2e import clis
from tests.e2e.fake_upstream import ModelServer
from tests.support import processes
from tests.support.client import Exchange
from tests.support.server import Server, ServerFactory, merged
from tests.support.waiting import wait_until

Phase = Literal["text", "tool"]
Ending = Literal["stream client gone", "plain client gone", "request timeout", "server SIGTERM", "worker SIGKILL"]

PHASES: tuple[Phase, ...] = get_args(Phase)
ENDINGS: tuple[Ending, ...] = get_args(Ending)
DEADLY: tuple[Ending, ...] = ("server SIGTERM", "worker SIGKILL")
"""These need a server of their own; the others can share one."""
LIMIT_S: Mapping[Ending, float] = {ending: 5.0 if ending == "worker SIGKILL" else 2.0 for ending in ENDINGS}
EARLY_S = 0.3
"""By so much may a run end before its time: the server's clock started a little later than the test's."""
AHEAD_S = 1.0
"""By so much before an end that is due the processes are looked for: it takes long to look at all there are."""
GIVE_UP_S = 15.0
TIMEOUT_S = 20.0
"""Until then a CLI on a busy machine says something, or calls its tool."""
GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table."""

    cli: str
    phase: Phase
    ending: Ending

    @property
    def limit_s(self) -> float:
        return LIMIT_S[self.ending]

    def allows(self, took_s: float) -> bool:
        """Whether the processes were gone in time, and not before their time."""
        return -EARLY_S <= took_s <= self.limit_s


CELLS = tuple(Cell(*parts) for parts in itertools.product(clis.NAMES, PHASES, ENDINGS))


class Witness:
    """Sees all processes of one run, from now until none is left."""

    def __init__(self, find: Callable[[], set[psutil.Process]], tool: str = "") -> None:
        self._find = find
        self._tool = tool
        self.seen: set[psutil.Process] = set()
        self.left()

    def left(self) -> set[psutil.Process]:
        """Those that still live."""
        self.seen |= self._find()
        if self._tool:
            self.seen |= processes.running_command(self._tool)
        return {process for process in self.seen if processes.is_running(process)}

    def gone_s(self, give_up_s: float) -> float:
        """When the last one was gone (monotonic seconds); infinite when that is not before ``give_up_s``."""
        while self.left():
            if time.monotonic() > give_up_s:
                return float("inf")
            time.sleep(0.02)
        return time.monotonic()


def start_server(servers: ServerFactory, model_server: ModelServer, names: Sequence[str] = clis.NAMES) -> Server:
    """A server in front of these real CLIs, which may use their tools; it knows their versions and is idle."""
    tools = {"claude": {"allowed_tools": ["Bash"]}}
    server = servers(
        {
            "server": {"request_timeout_secs": TIMEOUT_S, "graceful_timeout_secs": GRACE_S},
            "backends": merged(tools, {name: {"enabled": name in names} for name in clis.NAMES}),
        },
        environment=clis.provider_environment(model_server.url),
        path=lambda folder: clis.search_path(folder / "real-tools"),
        prepare=lambda folder: clis.prepare_home(folder / "home", model_server.url),
    )
    clis.wait_until_known(server, names)
    return server


def measure(cell: Cell, server: Server, model_server: ModelServer) -> float:
    """Seconds from the end of a run until none of its processes lives; infinite when some stay.

    Less than 0 when they were gone before the end that was due (the timeout, the end of the grace).
    """

    def of_run() -> set[psutil.Process]:
        # a worker that takes a dead one's place asks the CLIs for their versions
        return {process for process in server.of_runs() if not processes.command(process).endswith(" --version")}

    model_server.clear()
    tool = f"sleep 6{random.randrange(10**6):06}"
    # A tool call after every result, because codex takes a long tool's result before the tool has ended.
    words = f'FAKE:loop FAKE:cmd="{tool}"' if cell.phase == "tool" else "FAKE:n=5000 FAKE:delay=0.05"
    exchange = ask(server, cell, f"go {words}")
    try:
        if cell.phase == "tool":
            wait_until(lambda: named_sleep(tool), clis.START_S, f"the tool of {cell}\n{server.log}", every_s=0.05)
        else:
            wait_until(lambda: model_server.deltas() > 3, clis.START_S, f"the text of {cell}\n{server.log}")
        witness = Witness(of_run, tool if cell.phase == "tool" else "")
        assert witness.seen, "no process of the run was found"
        ended_s = end(cell.ending, server, exchange)
        time.sleep(max(ended_s - AHEAD_S - time.monotonic(), 0))
        took_s = witness.gone_s(ended_s + GIVE_UP_S) - ended_s
        for process in witness.left():
            process.kill()
    finally:
        exchange.close()
    return took_s


def named_sleep(command: str) -> bool:
    """Whether the tool itself runs, not only the shell around it."""
    return any(process.name() == "sleep" for process in processes.running_command(command))


def ask(server: Server, cell: Cell, prompt: str) -> Exchange:
    """Send the prompt, streamed or plain, with the right to use tools."""
    rights = {"approval_mode": "none", "sandbox_mode": "full", "model": clis.MODELS[cell.cli], "ephemeral": True}
    body = {"backend": cell.cli, "prompt": prompt, **rights}
    if cell.ending != "plain client gone":
        body["output_format"] = "stream-json"
    return server.client.send("POST", "/api/v1/prompt", body)


def end(ending: Ending, server: Server, exchange: Exchange) -> float:
    """End the run in this way; since when its processes should be gone (monotonic seconds)."""
    match ending:
        case "stream client gone" | "plain client gone":
            return exchange.vanish()
        case "request timeout":
            return exchange.sent_s + TIMEOUT_S
        case "server SIGTERM":
            server.process.send_signal(signal.SIGTERM)
            return time.monotonic() + GRACE_S
        case "worker SIGKILL":
            (worker,) = server.workers()
            worker.kill()
            return time.monotonic()


def table(results: Mapping[Cell, float]) -> str:
    """The results, a line for each CLI and phase."""
    rows = [["", *ENDINGS]]
    for cli, phase in itertools.product(clis.NAMES, PHASES):
        found = (results.get(Cell(cli, phase, ending)) for ending in ENDINGS)
        rows.append([f"{cli}, mid-{phase}", *("-" if took is None else f"{took:.2f}" for took in found)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def run(cells: Iterable[Cell]) -> dict[Cell, float]:
    """Measure cells."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="clinvk-") as top, ModelServer() as model_server:
        numbers = count()

        def new_folder(name: str) -> Path:
            folder = Path(top) / f"{name}{next(numbers)}"
            folder.mkdir()
            return folder

        with ServerFactory(new_folder) as lasting:
            shared = start_server(lasting, model_server)
            for cell in cells:
                with ServerFactory(new_folder) as servers:
                    own = start_server(servers, model_server, [cell.cli]) if cell.ending in DEADLY else None
                    results[cell] = measure(cell, own or shared, model_server)
                took = f"{results[cell]:6.2f} s  {cell.cli}, mid-{cell.phase}: {cell.ending}"
                print(took, file=sys.stderr, flush=True)
    return results


def main() -> int:
    """Print the table; 1 when a cell is out of its bounds."""
    wanted = sys.argv[1:]
    results = run(cell for cell in CELLS if not wanted or cell.cli in wanted)
    print(table(results))
    return int(not all(cell.allows(took) for cell, took in results.items()))


if __name__ == "__main__":
    sys.exit(main())
