"""The cases.  Each starts servers of its own and says what it has found."""

import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import psutil

from services.pool import SPARE_BYTES, Pool
from services.process import Engine
from services.prompts import Prompt
from services.shelf import Bounds
from tests.capacity.asking import Answer, at_once, kinds, prompts
from tests.capacity.findings import Finding, table
from tests.capacity.watching import clis, counted, hits, queued, waiting
from tests.support.client import Exchange
from tests.support.processes import is_running
from tests.support.scripts import ScriptBackend, script_runs
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

PROMPT = "/api/v1/prompt"
SOON = "FAKE:n=1"
HANGS = {"backend": "claude", "prompt": "FAKE:hang", "ephemeral": True}
NAMES = ("claude", "codex", "gemini")
WAIT_S = 30.0

Case = Callable[[ServerFactory], Iterator[Finding]]


def started(start: ServerFactory, keys: str = "", **server: Any) -> Server:
    """A server with these settings, and nothing else of ours in its place."""
    environment = {"CLINVK_API_KEYS": keys} if keys else {}
    headers = {"X-Api-Key": keys.partition(",")[0]} if keys else {}
    settings = {"metrics_enabled": True, **server}
    return start({"server": settings, "session": {"keep_warm_secs": 600}}, environment=environment, headers=headers)


def warmed(start: ServerFactory, count: int, **server: Any) -> Server:
    """A server in which so many CLIs wait, one of them on a session."""
    served = started(start, warm_processes=count, max_concurrent_runs=count, **server)
    assert served.client.prompt(SOON).json()["exit_code"] == 0
    wait_until(lambda: waiting(served) == min(2, count), WAIT_S)

    def is_full() -> bool:
        """Ask as many at once as are missing; whether that many wait by now, which is a moment after the answers."""
        if missing := count - waiting(served):
            assert set(kinds(prompts(served.client, missing, SOON, backend="codex", ephemeral=True))) == {"done"}
        return waiting(served) == count

    wait_until(is_full, WAIT_S, every_s=0.2)
    return served


def gone_after(found: set[psutil.Process], since_s: float) -> float:
    """The milliseconds until none of these processes lives."""
    wait_until(lambda: not any(map(is_running, found)), WAIT_S)
    return (time.monotonic() - since_s) * 1000


# ---------------------------------------------------------------- processes that wait


def dead(start: ServerFactory) -> Iterator[Finding]:
    """All that wait have died: whoever comes that moment is answered."""
    server = warmed(start, 6)
    for process in clis(server):
        process.kill()
    answers = prompts(server.client, 12, SOON, backend="codex", ephemeral=True)
    good = kinds(answers) == {"done": 12}
    yield Finding("6 that wait are killed, 12 ask at once", f"{dict(kinds(answers))}", good)


def outdated(start: ServerFactory) -> Iterator[Finding]:
    """A CLI is upgraded, or logged out, while processes wait."""
    server = warmed(start, 3)
    credentials = server.home / ".codex" / "auth.json"
    credentials.parent.mkdir(exist_ok=True)
    changes: Mapping[str, Callable[[], object]] = {
        "upgraded": lambda: server.clis.install("codex", always="FAKE:think"),
        "logged in": lambda: credentials.write_text("{}"),
        "logged out": credentials.unlink,
    }
    for name, change in changes.items():
        wait_until(lambda: waiting(server, "codex") > 0, WAIT_S)
        change()
        was_warm = is_found_warm(server)
        yield Finding(f"the CLI is {name} while one waits", f"{int(was_warm)} of the old handed out", not was_warm)


def is_found_warm(server: Server) -> bool:
    """Whether the next prompt finds its CLI there."""
    before = hits(server)
    assert server.client.prompt(SOON, "codex", ephemeral=True).json()["exit_code"] == 0
    return hits(server) > before


def killed(start: ServerFactory, whom: str) -> Iterator[Finding]:
    """The worker or the arbiter is killed: nothing that waited in it lives on."""
    server = warmed(start, 4)
    found = clis(server)
    (worker,) = server.workers()
    began_s = time.monotonic()
    (worker if whom == "worker" else psutil.Process(server.process.pid)).kill()
    gone_ms = gone_after(found, began_s)
    told = f"{len(found)} gone after {gone_ms:.0f} ms"
    if whom == "worker":
        wait_until(lambda: _answers(server), WAIT_S)
        told += f", answers after {(time.monotonic() - began_s) * 1000:.0f} ms"
    else:
        wait_until(lambda: not is_running(worker), WAIT_S)
    yield Finding(f"SIGKILL to the {whom}", told, len(found) == 4)


def _answers(server: Server) -> bool:
    try:
        return bool(server.client.prompt(SOON, ephemeral=True).json()["exit_code"] == 0)
    except OSError:
        return False


def stopped(start: ServerFactory) -> Iterator[Finding]:
    """A stop takes no longer because processes wait."""
    server = warmed(start, 4)
    found = clis(server)
    began_s = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    gone_ms = gone_after(found, began_s)
    code = server.stop()
    yield Finding(
        "SIGTERM", f"{len(found)} gone after {gone_ms:.0f} ms, exit code {code}", code == 0 and len(found) == 4
    )


def short_of_memory(_: ServerFactory) -> Iterator[Finding]:
    """Memory is short: those that wait go, and wait again when there is some."""
    left_bytes = 2 * SPARE_BYTES
    with tempfile.TemporaryDirectory() as folder:
        pools: list[Pool] = []

        def make_pool(engine: Engine) -> Pool:
            pools.append(Pool(engine, Bounds(3, 600.0), available=lambda: left_bytes))
            return pools[0]

        runs = script_runs(ScriptBackend("exec cat"), Path(folder), make_pool=make_pool)
        (pool,) = pools
        pool.open()
        try:
            for model in ("a", "b", "c"):
                _ask(runs, owner=model)
            wait_until(lambda: pool.waiting == 3, WAIT_S)
            left_bytes = SPARE_BYTES - 1
            began_s = time.monotonic()
            _ask(runs, owner="d")
            wait_until(lambda: pool.waiting == 0, WAIT_S)
            gone_ms = (time.monotonic() - began_s) * 1000
            left_bytes = 2 * SPARE_BYTES
            _ask(runs, owner="d")
            wait_until(lambda: pool.waiting > 0, WAIT_S)
        finally:
            runs.close()
    yield Finding(
        "memory is short when the next prompt comes", f"3 gone after {gone_ms:.0f} ms, and back with it", True
    )


def _ask(runs: Any, owner: str) -> None:
    with runs.start(runs.check(Prompt("script", "hello", owner=owner))) as run:
        assert run.collect().output == "hello"


# ---------------------------------------------------------------- more than there are slots


def crowd(start: ServerFactory, workers: int, clients: int = 200) -> Iterator[Finding]:
    """Many at once on four slots: a result, or ``overloaded`` within the queue's limit."""
    slots, warm, limit_s = 4, 2, 3
    server = started(start, workers=workers, max_concurrent_runs=slots, warm_processes=warm, queue_timeout_secs=limit_s)
    with counted(server) as census:
        answers = prompts(server.client, clients, SOON, ephemeral=True)
    seen = kinds(answers)
    sent_away = [answer for answer in answers if answer.kind == "overloaded"]
    slowest_s = max(answer.took_s for answer in sent_away) if sent_away else 0.0
    retry_s = [answer.retry_after_s for answer in sent_away] or [1]
    tried = f"{clients} at once on {slots} slots, {workers} worker{'s' * (workers > 1)}"
    yield Finding(tried, str(dict(seen)), set(seen) <= {"done", "overloaded"} and seen["done"] >= slots)
    yield Finding(
        "  … the slowest that was sent away", f"{slowest_s:.1f} s (the limit: {limit_s})", slowest_s < 3 * limit_s
    )
    yield Finding("  … and when it may come again", f"in {min(retry_s)} to {max(retry_s)} s", min(retry_s) > 0)
    told = f"{census.most} of {slots} + {warm} ({census.samples} samples)"
    yield Finding("  … the most CLIs at once", told, 0 < census.most <= slots + warm)
    wait_until(lambda: server.client.get("/health").json()["runs"]["active"] == 0, WAIT_S)


@contextmanager
def hanging(server: Server, count: int, body: Mapping[str, Any] = HANGS, **more: Any) -> Iterator[list[Exchange]]:
    """So many clients whose prompts are never answered, in their order."""
    with ExitStack() as stack:
        before = len(_runs(server, **more))
        exchanges = []
        for number in range(count):
            exchanges.append(stack.enter_context(server.client.send("POST", PROMPT, body, **more)))
            wait_until(lambda number=number: len(_runs(server, **more)) > before + number, WAIT_S)  # type: ignore[misc]
        yield exchanges


def _runs(server: Server, **more: Any) -> list[Any]:
    found: list[Any] = server.client.get("/api/v1/runs", **more).json()["runs"]
    return found


def vanished(start: ServerFactory, how: str) -> Iterator[Finding]:
    """Clients that go away while they wait: they leave the queue at once, and nothing is started for them."""
    server = started(start, max_concurrent_runs=2)
    with hanging(server, 2), hanging(server, 20) as others:
        starts = len(server.clis.starts())
        assert queued(server) == 20
        for exchange in others:
            exchange.vanish(reset=how == "reset")
        began_s = time.monotonic()
        wait_until(lambda: queued(server) == 0, WAIT_S)
        gone_ms = (time.monotonic() - began_s) * 1000
        started_for_them = len(server.clis.starts()) - starts
    wait_until(lambda: not clis(server), WAIT_S)
    started_for_them = max(started_for_them, len(server.clis.starts()) - starts)
    told = f"gone after {gone_ms:.0f} ms, {started_for_them} CLIs started"
    yield Finding(f"20 vanish from the queue ({how})", told, started_for_them == 0)


def one_key(start: ServerFactory) -> Iterator[Finding]:
    """One key asks for everything: another is answered nevertheless."""
    server = started(start, "one,two", max_concurrent_runs=4, max_runs_per_key=2)
    with hanging(server, 50):
        running = sum(run["state"] == "running" for run in _runs(server))
        began_s = time.monotonic()
        answer = server.client.post(PROMPT, {**HANGS, "prompt": SOON}, headers={"X-Api-Key": "two"})
        took_ms = (time.monotonic() - began_s) * 1000
    good = running == 2 and answer.json()["exit_code"] == 0
    yield Finding(
        "one key with 50 prompts that hang", f"{running} run; another key: answered in {took_ms:.0f} ms", good
    )


def in_order(start: ServerFactory) -> Iterator[Finding]:
    """Who came first is served first."""
    server = started(start, max_concurrent_runs=1, max_queued_runs=20)
    with ExitStack() as stack:
        with hanging(server, 1):
            asked = []
            for number in range(10):
                body = {**HANGS, "prompt": f"number {number} {SOON}"}
                asked.append(stack.enter_context(server.client.send("POST", PROMPT, body)))
                wait_until(lambda number=number: queued(server) == number + 1, WAIT_S)  # type: ignore[misc]
        answers = [exchange.response().json() for exchange in asked]
    served = [entry["run_id"].rpartition(".")[2] for entry in server.clis.starts()][1:]
    good = served == [answer["run_id"] for answer in answers]
    yield Finding("10 that wait for one slot", "served in the order of their coming" if good else str(served), good)


def together(start: ServerFactory, slots: int) -> Iterator[Finding]:
    """Requests of several runs each, all at once on few slots: none waits for a slot that another of its own has."""
    server = started(start, max_concurrent_runs=slots, queue_timeout_secs=60)
    task = {"backend": "codex", "prompt": SOON}
    bodies: Sequence[tuple[str, Mapping[str, Any]]] = [
        ("parallel", {"tasks": [task] * 5, "max_parallel": 5}),
        ("chain", {"steps": [task, {**task, "prompt": "again {{previous}}"}]}),
        ("compare", {"prompt": SOON, "backends": list(NAMES)}),
        ("prompt", task),
    ]
    asks = [partial(server.client.post, f"/api/v1/{name}", body) for name, body in bodies]
    began_s = time.monotonic()
    with counted(server) as census:
        answers = at_once(asks * 2)
    runs = 2 * (5 + 2 + 3 + 1)
    good = all(map(_is_whole, answers)) and len(server.clis.starts()) == runs and 0 < census.most <= slots
    told = f"{runs} runs in {time.monotonic() - began_s:.1f} s, {census.most} CLIs at most"
    yield Finding(f"parallel, chain and compare on {slots} slot{'s' * (slots > 1)}", told, good)


def _is_whole(answer: Answer) -> bool:
    if answer.response is None or answer.response.status != 200:
        return False
    told = answer.response.json()
    return all(result["exit_code"] == 0 for result in told.get("results", [told]))


CASES: Mapping[str, Case] = {
    "dead": dead,
    "outdated": outdated,
    "worker killed": partial(killed, whom="worker"),
    "arbiter killed": partial(killed, whom="arbiter"),
    "stopped": stopped,
    "memory": short_of_memory,
    "crowd on 1 worker": partial(crowd, workers=1),
    "crowd on 2 workers": partial(crowd, workers=2),
    "vanished": partial(vanished, how="closed"),
    "forgotten": partial(vanished, how="reset"),
    "one key": one_key,
    "order": in_order,
    **{f"together on {slots}": partial(together, slots=slots) for slots in range(1, 5)},
}
QUICK = ("dead", "worker killed", "memory", "vanished", "one key", "order", "together on 2")
"""Those that are tried with all other tests; the rest is tried end to end."""


def wrong(name: str, start: ServerFactory) -> list[Finding]:
    """What a case finds that is not as it should be.  Prints all that it finds."""
    found = list(CASES[name](start))
    assert found
    print(table(found))
    return [finding for finding in found if not finding.good]


def findings(start: ServerFactory, only: str = "") -> Iterator[Finding]:
    """What the cases find whose names hold these words."""
    return chain.from_iterable(case(start) for name, case in CASES.items() if only in name)
