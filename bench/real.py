"""The real CLIs with the fake model server: bare, through a server that starts each when it is asked (cold), and
through one that has started it in advance (warm), on each route.

Bare, cold and warm take turns, so that noise hits all alike.  Before each of them all is quiet: the processes that wait
are there, and nothing has been computed for a while.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.bare import Answered, environment, run_bare
from bench.client import Connection, wait_for_mark
from bench.harness import Server, running_server
from bench.plain import SETTINGS
from bench.routes import ROUTES, Question, Route
from bench.spread import median, repeats
from bench.table import Figure, Section
from bench.upstream import AT_ONCE, PACED, model_server
from bench.watching import memory_of_clis, wait_until_quiet
from tests.e2e import clis

ROUNDS = {"claude": (5, 3), "codex": (7, 5), "gemini": (4, 3)}
"""How often each is measured, when the model answers at once and when it is paced."""
AT_LEAST_ROUNDS = 2
LIMIT_S = {"claude": 35.0, "codex": 20.0, "gemini": 45.0}
"""On a machine that is slow or busy no further round is begun after so long."""
VARIANTS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "claude": {},
    "codex": {},
    "gemini": {"bare, one process": {"GEMINI_CLI_NO_RELAUNCH": "true"}},
}
"""The bare CLI in other circumstances: no measure of ours, but it tells where a difference comes from."""
WARM_AT_MOST = {"claude": 0.25, "codex": 0.5, "gemini": 0.1}
COLD_AT_MOST = 1.1
PACES = {"the model answers at once": AT_ONCE, "20 deltas, 20 ms before each": PACED}
QUIET_S = {"cold": 0.1, "warm": 0.3}
"""After so long without any processor time a CLI has started, or has ended."""
STILL_QUIET_S = 0.05
NOTES = (
    "First text and total are medians, from before the start or the request to the text or the end of the output.",
    "÷ bare: of the medians of the first text. Found waiting: prompts that found a process started in advance.",
    "CPU: of the server and of the CLI from its start to its end, also where it was started in advance.",
    "Memory (PSS) is that of the CLI's tree at its first text; waiting: of one that was started in advance.",
)
NOTES_OF = {
    "codex": ("Bare is `codex exec --json`, which prints its answer in one piece: its first text is its last.",),
    "gemini": (
        "Bare starts itself a second time, as for its users; the server spares it that, as `one process` does.",
    ),
}


@dataclass(frozen=True, slots=True)
class Way:
    """How a CLI is asked through a server.  ``waiting`` is how many processes wait for a prompt there."""

    kind: str
    server: Server
    route: Route
    waiting: int

    @property
    def row(self) -> str:
        """What it is called."""
        return f"{self.kind}, {self.route.name}"


@dataclass(slots=True)
class Taken:
    """What was measured of one way."""

    answers: list[Answered] = field(default_factory=list)
    waiting_mb: list[float] = field(default_factory=list)
    found: int = 0
    """How many of the prompts found a process that had been started in advance."""


def measure(effort: float) -> list[Section]:
    """Two grids for each CLI; a section that says so where they are not installed."""
    if lacking := clis.missing():
        note = f"not measured, for want of {', '.join(lacking)}: `make -C tests/e2e clis` installs them"
        return [Section("Real CLIs", [], (note,))]
    with model_server() as url:
        sections = [section for name in clis.NAMES for section in of_cli(name, url, effort)]
    return [Section("Real CLIs, model server on the same cores", [], NOTES), *sections]


def of_cli(name: str, url: str, effort: float) -> list[Section]:
    """The grids of one CLI, measured with two servers that have no other."""
    with (
        tempfile.TemporaryDirectory(prefix="clinvk-bench-") as home,
        asked_server(name, url, 0) as cold,
        asked_server(name, url, 4) as warm,
    ):
        clean = environment(Path(home), url)
        run_bare(name, AT_ONCE, clean, with_memory=False)
        waiting = {"cold": warm_up(name, cold), "warm": warm_up(name, warm)}
        servers = {"cold": cold, "warm": warm}
        ways = [Way(kind, server, route, waiting[kind]) for route in ROUTES for kind, server in servers.items()]
        return [
            Section(
                f"{name}, {pace}",
                figures_of(name, *take_turns(name, words, ways, clean, repeats(rounds, effort))),
                NOTES_OF.get(name, ()),
            )
            for (pace, words), rounds in zip(PACES.items(), ROUNDS[name], strict=True)
        ]


@contextmanager
def asked_server(name: str, url: str, warm_processes: int) -> Iterator[Server]:
    """A server with this CLI alone."""
    with tempfile.TemporaryDirectory(prefix="clinvk-bench-") as tools:
        settings = SETTINGS | {"warm_processes": warm_processes, "metrics_enabled": True}
        with running_server(
            settings,
            lambda home: clis.prepare_home(home, url),
            backends={other: {"enabled": other == name} for other in clis.NAMES},
            environment=clis.provider_environment(url),
            path=clis.search_path(Path(tools)),
        ) as server:
            server.wait_for_versions(name)
            yield server


def warm_up(name: str, server: Server) -> int:
    """Ask once on each route; how many processes wait afterwards."""
    waiting = 0
    for route in ROUTES:
        ask(name, AT_ONCE, server, route)
        waiting = len(wait_until_quiet(server, None, QUIET_S["warm"]).trees)
    return waiting


def take_turns(
    name: str, words: str, ways: Sequence[Way], clean: Mapping[str, str], rounds: int
) -> tuple[dict[str, list[Answered]], dict[str, Taken]]:
    """Answers of the bare CLI and of its variants, and what was measured of each way, by its row.

    Memory is looked at while the model paces its answer, when that holds up nobody.
    """
    with_memory = words == PACED
    circumstances: Mapping[str, Mapping[str, str]] = {"bare": {}, **VARIANTS[name]}
    bare: dict[str, list[Answered]] = {row: [] for row in circumstances}
    taken = {way.row: Taken() for way in ways}
    until_s = time.monotonic() + LIMIT_S[name]
    for number in range(rounds):
        if number >= AT_LEAST_ROUNDS and time.monotonic() > until_s:
            break
        for row, more in circumstances.items():
            bare[row].append(run_bare(name, words, {**clean, **more}, with_memory=with_memory))
        for way in ways:
            served(name, words, way, taken[way.row], with_memory=with_memory)
    return bare, taken


def served(name: str, words: str, way: Way, taken: Taken, *, with_memory: bool) -> None:
    """Ask once, when all is quiet, and add what was measured."""
    before = wait_until_quiet(way.server, way.waiting, STILL_QUIET_S)
    found_before = way.server.warm_runs()
    if with_memory:
        taken.waiting_mb += memory_of_clis(way.server).values()
    answer, memory = ask(name, words, way.server, way.route, with_memory=with_memory)
    after = wait_until_quiet(way.server, way.waiting, QUIET_S[way.kind])  # what comes next must not be disturbed
    memory_mb = sum(mb for pid, mb in memory.items() if pid not in after.trees)
    cpu_s = after.server_cpu_s - before.server_cpu_s
    taken.answers.append(replace(answer, cpu_s=cpu_s, memory_mb=memory_mb))
    taken.found += way.server.warm_runs() - found_before


def ask(
    name: str, words: str, server: Server, route: Route, *, with_memory: bool = False
) -> tuple[Answered, dict[int, float]]:
    """A streamed answer on a new connection; and the memory of all CLIs there at the first text, by their pids."""
    question = Question(words, name, clis.MODELS[name], stream=True)
    memory: dict[int, float] = {}
    began_s = time.perf_counter()
    with Connection(server.port) as connection:
        connection.send(route.path, route.body(question))
        pieces = connection.pieces()
        first_s = wait_for_mark(pieces, route.mark)
        if with_memory:
            memory = memory_of_clis(server)
        for _ in pieces:
            pass
    return Answered(first_s - began_s, time.perf_counter() - began_s, 0.0), memory


def figures_of(name: str, bare: Mapping[str, Sequence[Answered]], taken: Mapping[str, Taken]) -> list[Figure]:
    """The grid: bare, then each way."""
    first_s = median([answer.first_s for answer in bare["bare"]])
    figures = [figure for row, answers in bare.items() for figure in row_of(row, answers)]
    for row, its in taken.items():
        warm = row.startswith("warm")
        at_most = WARM_AT_MOST[name] if warm else COLD_AT_MOST
        ratio = median([answer.first_s for answer in its.answers]) / first_s
        figures += [*row_of(row, its.answers), Figure("÷ bare", ratio, "", at_most=at_most, row=row)]
        if its.waiting_mb:
            figures.append(Figure("waiting", median(its.waiting_mb), "MB", row=row))
        if warm:
            figures.append(Figure("found waiting", its.found / len(its.answers) * 100, "%", row=row))
    return figures


def row_of(row: str, answers: Sequence[Answered]) -> list[Figure]:
    """What every row has."""
    first_s = [answer.first_s for answer in answers]
    figures = [
        Figure("runs", len(answers), "", row=row),
        Figure("first text", median(first_s) * 1e3, "ms", row=row),
        Figure("slowest", max(first_s) * 1e3, "ms", row=row),
        Figure("total", median([answer.total_s for answer in answers]) * 1e3, "ms", row=row),
        Figure("CPU", median([answer.cpu_s for answer in answers]), "s", row=row),
    ]
    memory_mb = [answer.memory_mb for answer in answers if answer.memory_mb]
    return [*figures, Figure("memory", median(memory_mb), "MB", row=row)] if memory_mb else figures
