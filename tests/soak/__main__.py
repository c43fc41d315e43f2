"""Print what becomes of a server under mixed load: ``python -m tests.soak --minutes 30``.

In the first quarter the configuration is read again (HUP) now and then, which replaces the workers; afterwards they
stay, so that what leaks shows between the middle and the end.  The exit code is 1 when anything is wrong.
"""

import argparse
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.soak.clients import Clients
from tests.soak.figures import Figures, table
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

CONFIG = {
    "server": {
        "workers": 2,
        "max_concurrent_runs": 16,
        "max_queued_runs": 64,
        "request_timeout_secs": 5,
        "graceful_timeout_secs": 10,
        "warm_processes": 8,
        "warm_idle_secs": 5,
    },
    "session": {"keep_warm_secs": 5},
}
CLIENTS = 8
RELOADS = 5


def soak(server: Server, seconds: float, seed: int) -> tuple[Clients, list[Figures]]:
    """Load the server for so long; its figures at the start, in the middle and at the end."""
    figures = []
    half_s = seconds / 2
    clients = Clients(server, CLIENTS, seed)
    clients.start()
    time.sleep(half_s / 10)  # every kind of request has been seen once
    figures.append(Figures.now("start", server))
    for _ in range(RELOADS):
        reload(server)
        time.sleep(half_s * 0.4 / RELOADS)
    time.sleep(half_s * 0.5)  # a worker's memory grows in its first five minutes and stays there
    figures.append(Figures.now("middle", server))
    time.sleep(half_s)
    figures.append(Figures.now("end", server))
    clients.stop()
    server.wait_until_idle(15)
    wait_until(lambda: Figures.now("idle", server).is_empty or None, 15)
    figures.append(Figures.now("idle", server))
    return clients, figures


def reload(server: Server) -> None:
    """Let the server read its configuration again, and wait until new workers have taken over."""
    before = {worker.pid for worker in server.workers()}
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not before & {worker.pid for worker in server.workers()}, 60)


def main() -> None:
    """Do it, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    arguments = parser.parse_args()
    print(f"{arguments.minutes:g} minutes, {CLIENTS} clients, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, ServerFactory(lambda name: _made(Path(folder) / name)) as start:
        server = start(CONFIG)
        clients, figures = soak(server, arguments.minutes * 60, arguments.seed)
        tracebacks = server.log.count("Traceback")
    print(table(figures))
    print("\n".join(f"{kind:18}{count}" for kind, count in sorted(clients.asked.items())))
    print(f"{'in all':18}{clients.asked.total()}\n{'wrong':18}{len(clients.wrong)}\n{'tracebacks':18}{tracebacks}")
    print("\n".join(clients.wrong[:20]))
    raise SystemExit(1 if clients.wrong or tracebacks or figures[-1].leaks(figures, CLIENTS) else 0)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
