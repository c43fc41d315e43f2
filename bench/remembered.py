"""Sessions over HTTP: what remembering costs a prompt, with no sessions and with many, and what lists cost."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.harness import Connection, Server, running_server
from bench.native import PROMPT, SETTINGS, prompt
from bench.sessions import MANY, sessions
from bench.table import Figure
from services.sessions.store import SessionStore
from services.store_access import DATABASE

PAGES = ("", "backend=gemini", "status=error", "backend=codex&status=error", "backend=claude&offset=10000")


def measure() -> list[Figure]:
    """All figures, first with an empty database, then with a full one."""
    with running_server(SETTINGS) as server:
        at_0_ms, added_ms = added_by_a_session(server)
        health = cost_of_health(server)
    with running_server(SETTINGS, fill) as server:
        at_many_ms, _ = added_by_a_session(server)
        return [
            Figure("added to a prompt by a session, median", added_ms, "ms", at_most=3.0),
            Figure(f"a prompt with a session, at {MANY:,} : at 0", at_many_ms / at_0_ms, "", at_most=1.1),
            slowest_page(server),
            health,
        ]


def fill(home: Path) -> None:
    """Put many sessions into the database."""
    with SessionStore.open(home / DATABASE) as store:
        store.adopt(sessions(MANY))


def added_by_a_session(server: Server, rounds: int = 300) -> tuple[float, float]:
    """Milliseconds of a prompt that is recorded, and how many more those are than of one that is not."""
    took: dict[bool, list[float]] = {True: [], False: []}
    with Connection(server.port) as connection:
        for _ in range(rounds):
            for ephemeral, times in took.items():
                request = prompt("") | {"ephemeral": ephemeral}
                times.append(timed(lambda request=request: connection.post(PROMPT, request)))  # type: ignore[misc]
    ephemeral_ms, recorded_ms = (statistics.median(took[ephemeral]) * 1e3 for ephemeral in (True, False))
    return recorded_ms, recorded_ms - ephemeral_ms


def slowest_page(server: Server, rounds: int = 30) -> Figure:
    """The slowest of several pages of 100, by the median."""
    medians: Mapping[str, float] = {}
    with Connection(server.port) as connection:
        medians = {
            query: statistics.median(
                timed(lambda query=query: connection.get(f"/api/v1/sessions?{query}"))  # type: ignore[misc]
                for _ in range(rounds)
            )
            for query in PAGES
        }
    return Figure(f"page of 100 at {MANY:,}, slowest filter, median", max(medians.values()) * 1e3, "ms", at_most=15.0)


def cost_of_health(server: Server, rounds: int = 300) -> Figure:
    """How much longer /health takes than a route that does nothing."""
    with Connection(server.port) as connection:
        health, nothing = (
            statistics.median(timed(lambda path=path: connection.get(path)) for _ in range(rounds))  # type: ignore[misc]
            for path in ("/health", "/")
        )
    return Figure("/health, more than an empty route, median", (health - nothing) * 1e3, "ms", at_most=2.0)


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s
