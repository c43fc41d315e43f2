"""What is measured in the same way on every route that runs a prompt: what it adds, how fast it streams, how soon."""

import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.harness import Connection, Server, bare_start_s
from bench.table import Figure

STAMP = re.compile(rb'"(?:text|content)":"(\d{6,}) "')
"""The text of a delta that says when it was written, in any dialect."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route that runs the fake CLI.

    ``body`` makes a request of words for the fake CLI and of whether it is to be streamed; ``mark`` stands once in
    what a stream writes for each delta.
    """

    name: str
    path: str
    body: Callable[[str, bool], Mapping[str, object]]
    mark: bytes


def added(server: Server, route: Route, blocks: int = 10, rounds: int = 50) -> tuple[list[float], list[float]]:
    """Seconds of bare starts of the CLI, and of plain requests.

    Measured in alternate blocks: so neither is disturbed by the other, and both by whatever else the machine does.
    """
    bare, served = [], []
    with Connection(server.port) as connection:
        connection.post(route.path, route.body("", False))
        for _ in range(blocks):
            bare += [bare_start_s("bench") for _ in range(rounds)]
            for _ in range(rounds):
                began_s = time.perf_counter()
                connection.post(route.path, route.body("", False))
                served.append(time.perf_counter() - began_s)
    return bare, served


def stream_rate(server: Server, route: Route, at_least: int, deltas: int = 300_000, rounds: int = 3) -> Figure:
    """Deltas a second on one stream, from the request to the end of the answer."""
    rates = []
    for _ in range(rounds):
        with Connection(server.port) as connection:
            began_s = time.perf_counter()
            connection.send(route.path, route.body(f"FAKE:n={deltas}", True))
            came = sum(piece.count(route.mark) for piece in connection.pieces())
            rates.append(came / (time.perf_counter() - began_s))
        if not deltas * 0.999 <= came <= deltas:  # a mark may be cut by the end of a piece
            raise RuntimeError(f"{came} of {deltas} deltas came")
    return Figure(f"{route.name} a second, one stream", statistics.median(rates), "1/s", at_least=at_least)


def delay_ms(server: Server, route: Route, deltas: int = 200) -> float:
    """From the CLI's write of a delta to its arrival on the client's socket, the median."""
    delays: list[int] = []
    with Connection(server.port) as connection:
        connection.send(route.path, route.body(f"FAKE:n={deltas} FAKE:us=5000 FAKE:stamp", True))
        for piece in connection.pieces():
            now_ns = time.monotonic_ns()
            delays += [now_ns - int(stamp) for stamp in STAMP.findall(piece)]
    if len(delays) != deltas:
        raise RuntimeError(f"{len(delays)} of {deltas} deltas came")
    return statistics.median(delays) / 1e6
