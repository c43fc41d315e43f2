"""Plain prompts a second, on many connections.

The client is a program in C (load.c) on the same cores; what it takes of them stands beside.
"""

from bench.harness import Server, running_server
from bench.load import Load, load, load_row
from bench.plain import SETTINGS
from bench.routes import NATIVE, PROMPT, fake
from bench.spread import repeats
from bench.table import Figure, Section

CONNECTIONS = (1, 16, 64)
WORKERS = (1, 2)
AT_LEAST = {(2, 16): 1000.0}
"""The target for workers and connections."""
ROUNDS = 3
SECONDS = 2.0
NOTES = (
    "cold: a process is started for each prompt. warm: 16 are started in advance, and again those that were used,",
    "which takes the same cores: under full load that saves nothing.",
    "client: what the load client takes of one core. p50 and p99 are of all answers of all rounds.",
)


def measure(effort: float) -> Section:
    """Rates with one worker and with two."""
    loads: list[Figure] = []
    for workers in WORKERS:
        settings = SETTINGS | {"workers": workers}
        with running_server(settings) as cold, running_server(settings | {"warm_processes": 16}) as warm:
            loads += rates(cold, warm, workers, repeats(ROUNDS, effort))
    return Section("Plain prompts a second, CLI of 1 ms, native route", loads, NOTES)


def rates(cold: Server, warm: Server, workers: int, rounds: int) -> list[Figure]:
    """The rows of one number of workers.  Rounds alternate among the numbers of connections, and cold with warm."""
    body = NATIVE.body(fake())
    took: dict[tuple[int, str], list[Load]] = {}
    for server in (cold, warm):
        load(server.port, PROMPT, body, 16, 0.5)  # the first prompts load what is loaded late
    for _ in range(rounds):
        for connections in CONNECTIONS:
            took.setdefault((connections, "cold"), []).append(load(cold.port, PROMPT, body, connections, SECONDS))
        took.setdefault((16, "warm"), []).append(load(warm.port, PROMPT, body, 16, SECONDS))
    rows: list[Figure] = []
    for (connections, way), loads in took.items():
        name = f"{workers} worker{'s' * (workers > 1)}, {connections} connection{'s' * (connections > 1)}, {way}"
        target = AT_LEAST.get((workers, connections)) if way == "cold" else None
        rows += load_row(name, loads, target)
    return rows
