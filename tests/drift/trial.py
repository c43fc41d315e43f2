"""All scenarios with one program: a real server, the fake model server, a throw-away home, nothing of the user's."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.drift import tap
from tests.drift.normal import normal
from tests.drift.recording import Json, Recording, Recordings
from tests.drift.scenarios import CUT_SHORT, SCENARIOS, Talk
from tests.e2e import clis
from tests.e2e.conversing import CLAUDE, CODEX, GEMINI
from tests.e2e.fake_upstream import ModelServer
from tests.support import guard
from tests.support.server import Server, ServerFactory

CLIS = {cli.backend: cli for cli in (CLAUDE, CODEX, GEMINI)}
IDLE_S = 30.0


@dataclass(frozen=True, slots=True)
class Program:
    """A version of a CLI, and where it is."""

    cli: str
    version: str
    path: Path


def run(program: Program, folder: Path, told: Callable[[str], None] = lambda _: None) -> Recordings:
    """The recordings of every scenario, and of the ``server`` itself: that it knew the CLI, and what was left behind.

    ``folder`` is for this alone; ``told`` gets the name of each scenario before it is played.
    """
    folder.mkdir(parents=True)
    recordings: dict[str, Recording] = {}
    try:
        with ModelServer() as model_server, ServerFactory(partial(_new_folder, folder)) as servers:
            server = start(program, folder, servers, model_server)
            clis.wait_until_known(server, [program.cli])
            talk = Talk(CLIS[program.cli], server, model_server)
            for name in SCENARIOS:
                told(name)
                recordings[name] = play(name, talk, program, folder / "said")
            recordings["server"] = Recording((), {"version": _version(server, program)})
    except AssertionError as failure:
        recordings["server"] = Recording((), _failure(failure))
    return recordings


def start(program: Program, folder: Path, servers: ServerFactory, model_server: ModelServer) -> Server:
    """A server with this CLI alone, which is listened to."""
    tap.install(folder / "bin", program.cli, program.path, folder / "said")
    backends = {name: {"enabled": name == program.cli, "max_retries": 1} for name in clis.NAMES}
    return servers(
        {"backends": backends, "server": {"warm_processes": 0}},
        environment=clis.provider_environment(model_server.url),
        path=lambda own: f"{folder / 'bin'}:{guard.minimal_bin(own / 'real-tools', clis.TOOLS)}",
        prepare=lambda own: clis.prepare_home(own / "home", model_server.url),
    )


def play(name: str, talk: Talk, program: Program, said: Path) -> Recording:
    """Play a scenario; what was said, and the answer."""
    for path in said.iterdir():
        path.unlink()
    talk.model_server.clear()
    answer: Json
    try:
        answer = SCENARIOS[name](talk)
        talk.server.wait_until_idle(IDLE_S)
    except (AssertionError, LookupError, TypeError, ValueError, OSError) as failure:
        answer = _failure(failure)
    places = {
        str(talk.server.folder): "<folder>",
        str(program.path.parents[2]): "<installed>",
        str(guard.ROOT): "<project>",
        program.version: "<version>",
    }
    kept = [] if name in CUT_SHORT else sorted(said.iterdir())
    lines = [json.loads(line) for path in kept for line in path.read_text().splitlines()]
    return Recording(tuple(normal(line, places) for line in lines), normal(answer, places))


def _version(server: Server, program: Program) -> str:
    """The version that the server tells, as it stands in recordings."""
    (entry,) = [
        entry for entry in server.client.get("/api/v1/backends").json()["backends"] if entry["name"] == program.cli
    ]
    version: str = entry["version"]
    return version.replace(program.version, "<version>")


def _failure(failure: Exception) -> Json:
    return {"failed": f"{type(failure).__name__}: {failure}"[:2000]}


def _new_folder(folder: Path, name: str) -> Path:
    made = folder / name
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    return made
