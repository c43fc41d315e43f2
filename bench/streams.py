"""Streams of the fake CLI: pieces a second, how soon a piece is there, and what many or large ones take of memory."""

import re
import statistics
import threading
import time

from bench.client import Connection
from bench.harness import Server, running_server
from bench.plain import SETTINGS
from bench.routes import ANTHROPIC, NATIVE, OPENAI, PROMPT, Route, fake
from bench.spread import median, repeats
from bench.table import Figure, Section

STAMP = re.compile(rb'"(?:text|content)":"(\d{6,}) "')
"""The text of a delta that says when it was written, in any dialect."""
AT_LEAST = {NATIVE: 50_000, OPENAI: 50_000, ANTHROPIC: 40_000}


def measure(effort: float) -> Section:
    """All figures of streams, on one worker."""
    with running_server(SETTINGS) as server:
        figures = [
            *(stream_rate(server, route, at_least, repeats(5, effort)) for route, at_least in AT_LEAST.items()),
            *(delay(server, route) for route in AT_LEAST),
            *streams_in_flight(server),
            *large_stream(server),
        ]
    return Section("Streams, CLI of 1 ms, 1 worker", figures)


def stream_rate(server: Server, route: Route, at_least: int, rounds: int, deltas: int = 100_000) -> Figure:
    """Pieces a second on one stream, from the request to the end of the answer, the median."""
    rates = []
    for _ in range(rounds):
        with Connection(server.port) as connection:
            began_s = time.perf_counter()
            connection.send(route.path, route.body(fake(f"FAKE:n={deltas}", stream=True)))
            came = sum(piece.count(route.mark) for piece in connection.pieces())
            rates.append(came / (time.perf_counter() - began_s))
        if not deltas * 0.99 <= came <= deltas:  # a mark may be cut by the end of a piece
            raise RuntimeError(f"{came} of {deltas} deltas came")
    return Figure(f"{route.pieces} a second, one stream", median(rates), "1/s", at_least=at_least)


def delay(server: Server, route: Route, deltas: int = 200) -> Figure:
    """From the CLI's write of a delta to its arrival on the client's socket, the median."""
    delays: list[int] = []
    with Connection(server.port) as connection:
        connection.send(route.path, route.body(fake(f"FAKE:n={deltas} FAKE:us=5000 FAKE:stamp", stream=True)))
        for piece in connection.pieces():
            now_ns = time.monotonic_ns()
            delays += [now_ns - int(stamp) for stamp in STAMP.findall(piece)]
    if len(delays) != deltas:
        raise RuntimeError(f"{len(delays)} of {deltas} deltas came")
    return Figure(f"{route.name} delta, CLI to client, median", statistics.median(delays) / 1e6, "ms", at_most=5.0)


def streams_in_flight(server: Server, streams: int = 50) -> list[Figure]:
    """The server's memory while many streams go on, and how long /health takes meanwhile."""
    connections = [Connection(server.port) for _ in range(streams)]
    for connection in connections:
        connection.send(PROMPT, NATIVE.body(fake("FAKE:n=100 FAKE:us=50000", stream=True)))
    arrived = [next(connection.pieces()) for connection in connections]
    memory_mb = server.memory_mb()
    with Connection(server.port) as probe:
        delays = []
        for _ in range(20):
            began_s = time.perf_counter()
            probe.get("/health")
            delays.append(time.perf_counter() - began_s)
    readers = [threading.Thread(target=read_out, args=(connection,)) for connection in connections]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    if len(arrived) != streams:
        raise RuntimeError("a stream did not start")
    return [
        Figure(f"server memory (PSS) with {streams} streams in flight", memory_mb, "MB", at_most=150.0),
        Figure(f"/health meanwhile, slowest of {len(delays)}", max(delays) * 1e3, "ms", at_most=50.0),
    ]


def read_out(connection: Connection) -> None:
    """Read a stream that has begun to its end."""
    for _ in connection.rest():
        pass
    connection.close()


def large_stream(server: Server, mib: int = 200) -> list[Figure]:
    """How the worker grows while a large answer goes through it."""
    before_mb = server.peak_mb()
    size = 0
    with Connection(server.port) as connection:
        connection.send(PROMPT, NATIVE.body(fake(f"FAKE:n={mib * 32} FAKE:size=32768", stream=True)))
        for piece in connection.pieces():
            size += len(piece)
    if size < mib << 20:
        raise RuntimeError(f"only {size} bytes came")
    return [Figure(f"growth over one stream of {mib} MiB", server.peak_mb() - before_mb, "MB", at_most=64.0)]
