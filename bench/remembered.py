"""Sessions over HTTP: prompts that are remembered, with none, some and many sessions there, and what lists cost."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from bench.client import Connection
from bench.filled import MANY, fill
from bench.harness import Server, running_server
from bench.load import Load, load, load_row
from bench.plain import SETTINGS, timed
from bench.routes import NATIVE, PROMPT, fake
from bench.spread import median, repeats
from bench.table import Figure, Section

NUMBERS = (0, 10_000, MANY)
CONNECTIONS = 16
ROUNDS = 5
SECONDS = 2.0
PAGES = ("", "backend=gemini", "status=error", "backend=codex&status=error", "backend=claude&offset=10000")
NOTES = (
    f"Each prompt begins a session; {CONNECTIONS} connections, 1 worker; rounds alternate among the three servers.",
    "Ratio: the median, over the rounds, of the rates of one round.",
)


def measure(effort: float) -> Section:
    """All figures, of three servers side by side."""
    with ExitStack() as stack:
        servers = {
            number: stack.enter_context(running_server(SETTINGS, partial(fill, number=number))) for number in NUMBERS
        }
        figures = [
            *rates(servers, repeats(ROUNDS, effort)),
            *added_by_a_session(servers[0], servers[MANY], repeats(200, effort, 5)),
            slowest_page(servers[MANY], repeats(20, effort, 2)),
            cost_of_health(servers[0], repeats(300, effort, 5)),
        ]
    return Section("Sessions over HTTP, CLI of 1 ms", figures, NOTES)


def rates(servers: Mapping[int, Server], rounds: int) -> list[Figure]:
    """Prompts a second that begin a session, at each number of sessions, and the ratio."""
    body = {**NATIVE.body(fake()), "ephemeral": False}
    took: dict[int, list[Load]] = {number: [] for number in servers}
    for server in servers.values():
        load(server.port, PROMPT, body, CONNECTIONS, 0.5)
    for _ in range(rounds):
        for number, server in servers.items():
            took[number].append(load(server.port, PROMPT, body, CONNECTIONS, SECONDS))
    rows = [figure for number, loads in took.items() for figure in load_row(f"{number:,} sessions", loads)]
    ratio = median([many.rate / none.rate for many, none in zip(took[MANY], took[0], strict=True)])
    return [*rows, Figure("÷ at 0", ratio, "", at_least=0.9, row=f"{MANY:,} sessions")]


def added_by_a_session(empty: Server, full: Server, rounds: int) -> list[Figure]:
    """What a prompt that begins a session takes more than one that does not, one after another; and how many matter."""
    took: dict[tuple[int, bool], list[float]] = {}
    with Connection(empty.port) as to_empty, Connection(full.port) as to_full:
        for _ in range(rounds):
            for number, connection in ((0, to_empty), (MANY, to_full)):
                for ephemeral in (True, False):
                    body = {**NATIVE.body(fake()), "ephemeral": ephemeral}
                    took_s = timed(partial(connection.post, PROMPT, body))
                    took.setdefault((number, ephemeral), []).append(took_s)
    ms = {which: median(times) * 1e3 for which, times in took.items()}
    return [
        Figure("added to a prompt by a session, median", ms[0, False] - ms[0, True], "ms", at_most=3.0),
        Figure(f"a prompt with a session, at {MANY:,} ÷ at 0", ms[MANY, False] / ms[0, False], "", at_most=1.1),
    ]


def slowest_page(server: Server, rounds: int) -> Figure:
    """The slowest of several pages of 100, by the median."""
    with Connection(server.port) as connection:
        medians = [
            median([timed(partial(connection.get, f"/api/v1/sessions?{query}")) for _ in range(rounds)])
            for query in PAGES
        ]
    return Figure(f"page of 100 at {MANY:,}, slowest filter, median", max(medians) * 1e3, "ms", at_most=15.0)


def cost_of_health(server: Server, rounds: int) -> Figure:
    """How much longer /health takes than a route that does nothing."""
    with Connection(server.port) as connection:
        health, nothing = (
            median([timed(partial(connection.get, path)) for _ in range(rounds)]) for path in ("/health", "/")
        )
    return Figure("/health, more than an empty route, median", (health - nothing) * 1e3, "ms", at_most=2.0)
