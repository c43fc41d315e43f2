"""The native API on the fake CLI."""

import re
import statistics
import threading
import time

from bench.harness import Connection, Server, bare_start_s, running_server
from bench.table import Figure

PROMPT = "/api/v1/prompt"
SETTINGS = {"max_concurrent_runs": 64, "max_queued_runs": 64, "request_timeout_secs": 600}


def prompt(words: str, *, stream: bool = False) -> dict[str, object]:
    """A request to the fake CLI."""
    return {
        "backend": "claude",
        "prompt": f"bench {words}",
        "ephemeral": True,
        "output_format": "stream-json" if stream else "json",
    }


def measure() -> list[Figure]:
    """All figures of the native API."""
    with running_server(SETTINGS) as server:
        return [
            *added_by_the_server(server),
            stream_rate(server),
            delta_latency(server),
            *streams_in_flight(server),
            *large_stream(server),
        ]


def added_by_the_server(server: Server, blocks: int = 10, rounds: int = 50) -> list[Figure]:
    """What a plain prompt costs more than a bare start of the same CLI.

    Measured in alternate blocks: so neither is disturbed by the other, and both by whatever else the machine does.
    """
    bare, served = [], []
    with Connection(server.port) as connection:
        connection.post(PROMPT, prompt(""))
        for _ in range(blocks):
            bare += [bare_start_s("bench") for _ in range(rounds)]
            for _ in range(rounds):
                began_s = time.perf_counter()
                connection.post(PROMPT, prompt(""))
                served.append(time.perf_counter() - began_s)
    bare_ms, served_ms = statistics.median(bare) * 1e3, statistics.median(served) * 1e3
    p99_ms = statistics.quantiles(served, n=100)[98] * 1e3
    return [
        Figure("bare start of the fake CLI, median", bare_ms, "ms"),
        Figure("plain prompt, median", served_ms, "ms"),
        Figure("plain prompt, p99", p99_ms, "ms"),
        Figure("added to a plain prompt, median", served_ms - bare_ms, "ms", at_most=4.0),
    ]


def stream_rate(server: Server, events: int = 300_000, rounds: int = 3) -> Figure:
    """Events a second on one NDJSON stream."""
    rates = []
    for _ in range(rounds):
        with Connection(server.port) as connection:
            began_s = time.perf_counter()
            connection.send(PROMPT, prompt(f"FAKE:n={events}", stream=True))
            lines = sum(piece.count(b'"type":"message"') for piece in connection.pieces())
            rates.append(lines / (time.perf_counter() - began_s))
        if not events * 0.999 <= lines <= events:  # a mark may be cut by the end of a piece
            raise RuntimeError(f"{lines} of {events} events came")
    return Figure("NDJSON events a second, one stream", statistics.median(rates), "1/s", at_least=50_000)


def delta_latency(server: Server, deltas: int = 200) -> Figure:
    """From the CLI's write of a delta to its arrival on the client's socket."""
    delays = []
    with Connection(server.port) as connection:
        connection.send(PROMPT, prompt(f"FAKE:n={deltas} FAKE:us=5000 FAKE:stamp", stream=True))
        for piece in connection.pieces():
            now_ns = time.monotonic_ns()
            delays += [now_ns - int(stamp) for stamp in re.findall(rb'"text":"(\d+) "', piece)]
    if len(delays) != deltas:
        raise RuntimeError(f"{len(delays)} of {deltas} deltas came")
    return Figure(
        "delta from the CLI to the client's socket, median", statistics.median(delays) / 1e6, "ms", at_most=5.0
    )


def streams_in_flight(server: Server, streams: int = 50) -> list[Figure]:
    """The server's memory while many streams go on, and how long /health takes meanwhile."""
    connections = [Connection(server.port) for _ in range(streams)]
    for connection in connections:
        connection.send(PROMPT, prompt("FAKE:n=100 FAKE:us=50000", stream=True))
    arrived = [next(connection.pieces()) for connection in connections]
    memory_mib = server.memory_mib()
    with Connection(server.port) as probe:
        delays = []
        for _ in range(20):
            began_s = time.perf_counter()
            probe.get("/health")
            delays.append(time.perf_counter() - began_s)
    readers = [threading.Thread(target=lambda c=c: list(c.pieces())) for c in connections]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    if len(arrived) != streams:
        raise RuntimeError("a stream did not start")
    return [
        Figure(f"server memory with {streams} streams in flight", memory_mib, "MiB", at_most=150.0),
        Figure(f"/health meanwhile, slowest of {len(delays)}", max(delays) * 1e3, "ms", at_most=50.0),
    ]


def large_stream(server: Server, mib: int = 200) -> list[Figure]:
    """How the worker grows while a large answer goes through it."""
    before_mib = server.peak_mib()
    size = 0
    with Connection(server.port) as connection:
        connection.send(PROMPT, prompt(f"FAKE:n={mib * 32} FAKE:size=32768", stream=True))
        for piece in connection.pieces():
            size += len(piece)
    if size < mib << 20:
        raise RuntimeError(f"only {size} bytes came")
    return [Figure(f"growth over one stream of {mib} MiB", server.peak_mib() - before_mib, "MiB", at_most=64.0)]
