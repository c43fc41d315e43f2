"""The session store alone: what a run with a session costs, and what it costs when there are many."""

import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

from bench.filled import BACKENDS, MANY, PROMPT, filled
from bench.spread import repeats
from bench.table import Figure, Section
from services.events import TokenUsage
from services.sessions.records import Claim, Ending, NewSession, Status
from services.sessions.store import SessionStore

CLAIM = Claim(run_id="run", worker="worker")
ENDING = Ending(usage=TokenUsage(1200, 300, 1000, 100, 50), cost_usd=0.01, cli_session_id="c" * 36, model="opus")


def measure(effort: float) -> Section:
    """All figures of the store, at no sessions and at many."""
    with tempfile.TemporaryDirectory(prefix="clinvk-bench-") as folder:
        copy = shutil.copy(filled(MANY), Path(folder) / "full.db")
        empty, full = SessionStore.open(Path(folder) / "empty.db"), SessionStore.open(copy)
        with empty, full:
            figures = [
                *cost_of_a_run(empty, full, repeats(1000, effort, 10)),
                *pages(full, repeats(15, effort, 3)),
                *counting(full, repeats(500, effort, 5)),
            ]
    return Section("Session store alone", figures)


def cost_of_a_run(empty: SessionStore, full: SessionStore, rounds: int) -> list[Figure]:
    """Beginning and ending a run, new and resumed, measured alternately in both stores."""
    figures = []
    for what, work in (("new", new_session), ("resumed", resumed_session)):
        took: dict[SessionStore, list[float]] = {empty: [], full: []}
        for _ in range(rounds):
            for store, times in took.items():
                times.append(work(store))
        empty_ms, full_ms = (statistics.median(times) * 1e3 for times in took.values())
        p99_ms = statistics.quantiles(took[full], n=100)[98] * 1e3
        figures += [
            Figure(f"{what} session, begin + finish, at 0, median", empty_ms, "ms", at_most=1.5),
            Figure(f"{what} session, begin + finish, at {MANY:,}, median", full_ms, "ms", at_most=1.5),
            Figure(f"{what} session, begin + finish, at {MANY:,}, p99", p99_ms, "ms"),
            Figure(f"{what} session, at {MANY:,} : at 0", full_ms / empty_ms, "", at_most=1.1),
        ]
    return figures


def new_session(store: SessionStore) -> float:
    """Seconds for a run with a session of its own."""
    new = NewSession(backend="claude", working_dir="/srv/projects/1", initial_prompt=PROMPT, tags=("api",))
    began_s = time.perf_counter()
    session = store.create(new, CLAIM)
    store.finish(session.id, CLAIM.run_id, ENDING)
    return time.perf_counter() - began_s


def resumed_session(store: SessionStore) -> float:
    """Seconds for a run that continues one of the sessions there are."""
    known = store.page("", limit=1, offset=random.randrange(min(1000, store.count()))).sessions[0]
    began_s = time.perf_counter()
    store.resume(known.id, "", CLAIM)
    store.finish(known.id, CLAIM.run_id, ENDING)
    return time.perf_counter() - began_s


def pages(store: SessionStore, rounds: int) -> list[Figure]:
    """A page of 100 with any filter, at the start and deep inside; the figure is the slowest filter's median."""
    filters = list(product(("", *BACKENDS), (None, *Status)))

    def slowest(owner: str, offset: int) -> float:
        return max(
            median_ms(partial(store.page, owner, backend=backend, status=status, offset=offset), rounds)
            for backend, status in filters
        )

    return [
        Figure(f"page of 100 at {MANY:,}, slowest of {len(filters)} filters", slowest("", 0), "ms", at_most=15.0),
        Figure("the same for an owner of a tenth of them", slowest("f00dfeed", 0), "ms", at_most=15.0),
        Figure("the same at offset 80,000", slowest("", 80_000), "ms"),
    ]


def counting(store: SessionStore, rounds: int) -> list[Figure]:
    """The number of sessions, and the whole of what a health check asks."""
    return [
        Figure(f"count at {MANY:,}, median", median_ms(store.count, rounds), "ms", at_most=0.2),
        Figure(f"check at {MANY:,}, median", median_ms(store.check, rounds), "ms", at_most=0.2),
    ]


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """How long something takes."""
    times = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        work()
        times.append(time.perf_counter() - began_s)
    return statistics.median(times) * 1e3
