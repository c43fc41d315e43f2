"""What a server takes of memory that serves nothing at the moment, but has served prompts."""

from bench.harness import running_server
from bench.load import load
from bench.plain import SETTINGS
from bench.routes import NATIVE, PROMPT, fake
from bench.spread import median
from bench.table import Figure, Section
from bench.throughput import WORKERS
from bench.watching import pss_mb, wait_until_quiet

WORKER_MB = 80.0
NOTES = ("PSS: what processes share is divided among them; no other server runs meanwhile.",)


def measure(effort: float) -> Section:
    """One worker and two, each server for itself."""
    figures = [figure for workers in WORKERS for figure in memory_of(workers, seconds=max(0.5, 2 * effort))]
    return Section("Memory of an idle server, after prompts on 16 connections", figures, NOTES)


def memory_of(workers: int, seconds: float) -> list[Figure]:
    """A worker alone, and its share of the whole server."""
    row = f"{workers} worker{'s' * (workers > 1)}"
    with running_server(SETTINGS | {"workers": workers}) as server:
        load(server.port, PROMPT, NATIVE.body(fake()), 16, seconds)
        wait_until_quiet(server, 0, 0.2)
        alone_mb = median([pss_mb([worker.pid]) for worker in server.workers()])
        share_mb = server.memory_mb() / workers
    return [
        Figure("a worker alone", alone_mb, "MB", at_most=WORKER_MB, row=row),
        Figure("(arbiter + workers) ÷ workers", share_mb, "MB", at_most=WORKER_MB, row=row),
    ]
