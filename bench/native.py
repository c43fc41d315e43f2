"""The native API on the fake CLI."""

import statistics
import threading
import time

from bench.harness import Connection, Server, running_server
from bench.measures import Route, added, delay_ms, stream_rate
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


NATIVE = Route("NDJSON events", PROMPT, lambda words, stream: prompt(words, stream=stream), b'"type":"message"')


def measure() -> list[Figure]:
    """All figures of the native API."""
    with running_server(SETTINGS) as server:
        return [
            *added_by_the_server(server),
            stream_rate(server, NATIVE, at_least=50_000),
            delta_latency(server),
            *streams_in_flight(server),
            *large_stream(server),
        ]


def added_by_the_server(server: Server) -> list[Figure]:
    """What a plain prompt costs more than a bare start of the same CLI."""
    bare, served = added(server, NATIVE)
    bare_ms, served_ms = statistics.median(bare) * 1e3, statistics.median(served) * 1e3
    p99_ms = statistics.quantiles(served, n=100)[98] * 1e3
    return [
        Figure("bare start of the fake CLI, median", bare_ms, "ms"),
        Figure("plain prompt, median", served_ms, "ms"),
        Figure("plain prompt, p99", p99_ms, "ms"),
        Figure("added to a plain prompt, median", served_ms - bare_ms, "ms", at_most=4.0),
    ]


def delta_latency(server: Server) -> Figure:
    """How soon a delta is there."""
    median_ms = delay_ms(server, NATIVE)
    return Figure("delta from the CLI to the client's socket, median", median_ms, "ms", at_most=5.0)


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
