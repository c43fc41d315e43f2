"""What the server adds to a CLI of one millisecond: plain prompts, one after another, on each route.

Bare is a start of the same program, with the same prompt on its stdin, to its end.  All three ways are measured in
alternate blocks: so none is disturbed by the other, and all by whatever else the machine does.
"""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from bench.build import fake_claude
from bench.client import Connection
from bench.harness import Server, running_server
from bench.routes import NATIVE, ROUTES, Route, fake
from bench.spread import median, repeats, spread_ms
from bench.table import Figure, Section
from bench.watching import wait_until_quiet

SETTINGS: dict[str, Any] = {
    "warm_processes": 0,
    "max_concurrent_runs": 64,
    "max_queued_runs": 64,
    "request_timeout_secs": 600,
}
BLOCKS = 20
ROUNDS = 10
QUIET_S = 0.01
"""So long after its start a fake CLI has been asked its opening question and has answered it."""
EVERY_S = 0.002
ADDED_MS = 3.0
NOTES = (
    "added: p50 less p50 of bare. Bare and cold follow one another at once. Before each warm prompt the next process",
    "is waited for, until it is quiet: after that pause, of some 20 ms, the cores have to wake up first.",
    "found waiting: how many of the prompts found a process that had been started in advance.",
)


def measure(effort: float) -> Section:
    """The grid of all routes and ways."""
    with running_server(SETTINGS) as cold, running_server(SETTINGS | {"warm_processes": 4}) as warm:
        figures = [figure for route in ROUTES for figure in of_route(route, cold, warm, repeats(BLOCKS, effort))]
    return Section("Plain prompts, CLI of 1 ms, 1 connection", figures, NOTES)


def of_route(route: Route, cold: Server, warm: Server, blocks: int) -> list[Figure]:
    """The rows of one route."""
    took: dict[str, list[float]] = {"bare": [], "cold": [], "warm": []}
    with Connection(cold.port) as to_cold, Connection(warm.port) as to_warm:

        def ask(connection: Connection) -> Callable[[], object]:
            return lambda: connection.post(route.path, route.body(fake()))

        ask(to_cold)(), ask(to_warm)()
        waiting = len(wait_until_quiet(warm, None, 0.2).trees)
        found = 0
        for _ in range(blocks):
            took["bare"] += [timed(bare_run) for _ in range(ROUNDS)]
            took["cold"] += [timed(ask(to_cold)) for _ in range(ROUNDS)]
            its_took, its_found = timed_warm(ask(to_warm), warm, waiting)
            took["warm"] += its_took
            found += its_found
    bare = rows(route, "bare", took["bare"], None) if route is NATIVE else []
    bare_ms = median(took["bare"]) * 1e3
    share = Figure("found waiting", found / len(took["warm"]) * 100, "%", row=f"{route.name}, warm")
    return [
        *bare,
        *rows(route, "cold", took["cold"], bare_ms),
        *rows(route, "warm", took["warm"], bare_ms),
        share,
    ]


def timed_warm(work: Callable[[], object], server: Server, waiting: int) -> tuple[list[float], int]:
    """Seconds of prompts, each asked when so many processes wait; and how many took one of these."""
    took, found = [], 0
    before = wait_until_quiet(server, waiting, QUIET_S, every_s=EVERY_S)
    for _ in range(ROUNDS):
        took.append(timed(work))
        after = wait_until_quiet(server, waiting, QUIET_S, every_s=EVERY_S)
        found += not before.trees.keys() <= after.trees.keys()
        before = after
    return took, found


def rows(route: Route, way: str, took_s: list[float], bare_ms: float | None) -> list[Figure]:
    """One row; without ``bare_ms`` that of the bare CLI, which is on no route."""
    if bare_ms is None:
        return spread_ms(way, took_s)
    row = f"{route.name}, {way}"
    added_ms = median(took_s) * 1e3 - bare_ms
    return [*spread_ms(row, took_s), Figure("added", added_ms, "ms", at_most=ADDED_MS, row=row)]


def bare_run() -> None:
    """The fake CLI from its start to its end, when nobody stands between."""
    line = json.dumps({"type": "user", "message": {"role": "user", "content": fake().text}}).encode() + b"\n"
    subprocess.run([str(fake_claude()), "-p"], input=line, capture_output=True, check=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s
