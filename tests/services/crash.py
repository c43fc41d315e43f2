"""Kill a server at random moments under load, and see that it loses nothing: ``python -m tests.services.crash``.

Clients begin and continue sessions all the time.  What was answered must be in the database afterwards, whatever was
killed: the arbiter, a worker, or all of them at once; what went on in a process that died must be marked as
interrupted, and nothing of it may still run.
"""

import argparse
import http.client
import random
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from tests.support.processes import is_running
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

CONFIG = {"server": {"workers": 2, "max_concurrent_runs": 4, "graceful_timeout_secs": 2}}
CLIENTS = 4
LONGEST_LOAD_S = 0.5
LONGEST_RUN_S = 0.3
TARGETS: tuple["Target", ...] = ("worker", "arbiter", "all")

Target = Literal["worker", "arbiter", "all"]
Row = dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """What a client knows of a session: turns that were answered, and some whose answer was lost."""

    answered: int = 0
    unknown: int = 0


@dataclass(slots=True)
class Tally:
    """What came of it all; ``wrong`` says what was not as it should be."""

    seed: int
    killed: Counter[Target] = field(default_factory=Counter)
    acknowledged: int = 0
    sessions: int = 0
    unanswered: int = 0
    interrupted: int = 0
    lost: int = 0
    orphans: int = 0
    folders: int = 0
    wrong: list[str] = field(default_factory=list)

    def table(self) -> str:
        """As lines for people."""
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(self.killed.items()))
        rows = {
            "kills": f"{self.killed.total()} ({kinds}; seed {self.seed})",
            "acknowledged": f"{self.acknowledged} turns of {self.sessions} sessions",
            "unanswered": str(self.unanswered),
            "interrupted": str(self.interrupted),
            "lost": str(self.lost),
            "orphans": str(self.orphans),
            "folders left": str(self.folders),
        }
        return "\n".join([*(f"{name:14}{value}" for name, value in rows.items()), *self.wrong])


class Clients:
    """Threads that talk to the server until they are stopped."""

    def __init__(self, server: Server, seed: int) -> None:
        self.conversations: dict[str, Conversation] = {}
        self.complaints: list[str] = []
        self.unanswered = 0
        self._server = server
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._free: list[str] = []
        self._aside: list[str] = []
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._free += self._aside
        self._aside.clear()
        self._stopped.clear()
        self._threads = [threading.Thread(target=self._talk) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each take its last answer, or see that there will be none."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _talk(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                ident = self._free.pop(self._random.randrange(len(self._free))) if self._goes_on() else ""
                words = f"FAKE:n=1 FAKE:first={self._random.uniform(0, LONGEST_RUN_S):.3f}"
            try:
                response = self._server.client.prompt(words, **({"session_id": ident} if ident else {}))
            except ConnectionRefusedError:
                self._not_asked(ident)
                self._stopped.wait(0.02)
                continue
            except (OSError, http.client.HTTPException):
                self._not_answered(ident)
                continue
            self._answered(ident, response.status, response.json())

    def _goes_on(self) -> bool:
        return bool(self._free) and self._random.random() < 0.6

    def _not_asked(self, ident: str) -> None:
        with self._lock:
            self._free += [ident] if ident else []

    def _not_answered(self, ident: str) -> None:
        """Nobody knows what came of it; the session is left alone until that has been looked at."""
        with self._lock:
            self.unanswered += 1
            if ident:
                self.conversations[ident].unknown += 1
                self._aside.append(ident)

    def _answered(self, ident: str, status: int, answer: Any) -> None:
        with self._lock:
            if status == 200 and answer.get("session_id"):
                conversation = self.conversations.setdefault(answer["session_id"], Conversation())
                conversation.answered += not any("not recorded" in warning for warning in answer["warnings"])
                self._free.append(answer["session_id"])
                return
            if ident:
                self._free.append(ident)
            # after a kill: the run was ended with its server, or the one that was going on is not yet marked
            if not (status in {409, 503} or (status == 200 and answer.get("warnings"))):
                self.complaints.append(f"{status} for {ident or 'a new session'}: {answer}")


def crash(server: Server, kills: int, seed: int) -> Tally:
    """Kill so many times, and look after each at what is left."""
    chance = random.Random(seed)
    tally = Tally(seed)
    clients = Clients(server, seed)
    for number in range(kills):
        clients.start()
        time.sleep(chance.uniform(0.05, LONGEST_LOAD_S))
        target = TARGETS[number % len(TARGETS)]
        tally.killed[target] += 1
        before = {process.pid for process in server.workers()}
        dead = kill(server, target, chance)
        at_work = [row for row in rows(server) if row["status"] == "active" and worker_of(row) in dead]
        if not server.running:
            server.restart()
        wait_until(lambda dead=dead, before=before: is_whole(server, dead, before), 30)  # type: ignore[misc]
        clients.stop()
        look(server, tally, clients, at_work)
    examine(server, tally)
    tally.unanswered = clients.unanswered
    tally.sessions = len(clients.conversations)
    tally.acknowledged = sum(one.answered for one in clients.conversations.values())
    tally.wrong += clients.complaints
    return tally


def kill(server: Server, target: Target, chance: random.Random) -> set[int]:
    """Kill with SIGKILL, at once; the pids of the workers that are dead by that."""
    workers = server.workers()
    arbiter = psutil.Process(server.process.pid)
    victims = {"worker": [chance.choice(workers)], "arbiter": [arbiter], "all": [arbiter, *workers]}[target]
    for victim in victims:
        victim.kill()
    if target != "worker":
        server.process.wait(10)
    wait_until(lambda: not any(map(is_running, victims)))
    return {victim.pid for victim in victims}


def is_whole(server: Server, dead: set[int], before: set[int]) -> bool:
    """Whether all workers answer, and the ones of a dead arbiter have gone."""
    workers = {process.pid for process in server.workers()}
    if len(workers) < CONFIG["server"]["workers"] or workers & dead:
        return False
    if server.process.pid not in dead and workers <= before:
        return False
    controls = (server.home / ".clinvk" / "runs").glob("*/control")
    return {int(path.parent.name.rpartition(".")[2]) for path in controls} >= workers


def look(server: Server, tally: Tally, clients: Clients, at_work: list[Row]) -> None:
    """See that nothing answered is lost, nothing dead is active and nothing of it runs."""
    with suppress(AssertionError):
        wait_until(lambda: not [row for row in rows(server) if row["status"] == "active"], 5)
    found = {row["id"]: row for row in rows(server)}
    for row in at_work:
        now = found[row["id"]]
        tally.interrupted += 1
        if now["status"] != "error" or not now["error_message"].startswith("interrupted"):
            tally.wrong.append(f"was at work and is not marked: {now}")
    for ident, conversation in clients.conversations.items():
        turns = found[ident]["turn_count"] if ident in found else -1
        if turns < conversation.answered:
            tally.lost += conversation.answered - max(0, turns)
            tally.wrong.append(f"{ident}: {conversation.answered} turns were answered, {turns} are recorded")
        if turns > conversation.answered + conversation.unknown:
            tally.wrong.append(f"{ident}: {conversation.answered} turns were answered, {turns} are recorded")
    tally.wrong += [f"still active: {row}" for row in found.values() if row["status"] == "active"]
    with suppress(AssertionError):
        server.wait_until_idle()
    tally.orphans += len(server.of_runs())
    known = {Path(row["working_dir"]).name for row in found.values()}
    tally.folders = len({path.name for path in (server.home / ".clinvk" / "work").iterdir()} - known)


def examine(server: Server, tally: Tally) -> None:
    """See that the database is sound, and that the server counts right."""
    with closing(sqlite3.connect(server.home / ".clinvk" / "sessions.db", timeout=10)) as connection:
        tally.wrong += [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
    counted = server.client.get("/api/v1/sessions").json()["total"]
    if counted != (there := len(rows(server))):
        tally.wrong.append(f"{there} sessions are counted as {counted}")


def rows(server: Server) -> list[Row]:
    """All sessions, read without the server's help."""
    with closing(sqlite3.connect(server.home / ".clinvk" / "sessions.db", timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM sessions")]


def worker_of(row: Row) -> int:
    return int(row["worker"].rpartition(".")[2] or 0)


def main() -> None:
    """Print the table; exit code 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ServerFactory(lambda name: _made(Path(folder) / name)) as start:
        tally = crash(start(CONFIG), arguments.kills, arguments.seed)
    print(tally.table())
    raise SystemExit(1 if tally.wrong or tally.lost or tally.orphans else 0)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
