"""What is around the CLIs: configuration, folders, and whether a server runs."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from app import __version__
from app.addresses import why_not_listen
from app.client.address import UNIX, listening_address
from app.client.connection import Connection, Json
from app.client.errors import ClientError
from app.config import ConfigError
from app.config.checks import is_local
from app.doctor.findings import Finding, Level
from app.doctor.places import is_there, nearest
from app.source import keys_of
from services.container import database
from services.errors import ClinvkError
from services.sessions.errors import StoreError
from services.sessions.store import SessionStore
from services.settings import Config

OTHERS = 0o077
LITTLE_SPACE_BYTES = 1024**3
GIB = 1024**3
ANSWER_TIMEOUT_S = 5.0


def of_error(error: ConfigError) -> Iterator[Finding]:
    """What is wrong with a configuration that cannot be used."""
    if error.source:
        yield Finding(Level.NOTE, error.source)
    for number, problem in enumerate(error.problems, 1):
        fix = "mend it; deploy/config.yaml has every key" if number == len(error.problems) else ""
        yield Finding(Level.FAULT, f"{problem.location}: {problem.message}".removeprefix(": "), fix)


def of_configuration(config: Config, file: Path) -> Iterator[Finding]:
    """Where it comes from, and what it says of who may come in."""
    yield Finding(Level.GOOD, str(file)) if file.exists() else Finding(Level.NOTE, f"defaults: there is no {file}")
    default = config.backends[config.default_backend]
    if not default.enabled:
        text = f"default_backend is {config.default_backend}, which is switched off"
        yield Finding(Level.WARNING, text, "choose another default_backend")
    yield from _of_keys(config)


def _of_keys(config: Config) -> Iterator[Finding]:
    server = config.server
    where = f"{listening_address(server.host, server.port)}"
    try:
        count = len(keys_of(config).owners)
    except ClinvkError as error:
        yield Finding(Level.FAULT, error.message, "mend it: the server does not start without its keys")
        return
    if server.api_keys_file and not server.api_keys and Path(server.api_keys_file).stat().st_mode & OTHERS:
        fix = f"chmod 600 {server.api_keys_file}"
        yield Finding(Level.WARNING, f"others can read the API keys in {server.api_keys_file}", fix)
    if count:
        yield Finding(Level.GOOD, f"listens on {where}; {count} API {'key' if count == 1 else 'keys'}")
    elif is_local(server.host):
        yield Finding(Level.GOOD, f"listens on {where}, for this machine alone; no API key is needed")
    else:
        text = f"listens on {server.host}, port {server.port}, and whoever can reach it needs no API key"
        fix = "set CLINVK_API_KEYS, or take allow_unauthenticated_network out"
        yield Finding(Level.WARNING, text, fix)


def of_folders(config: Config) -> Iterator[Finding]:
    """The home folder and the session store."""
    yield from _of_home(config.home)
    yield _of_store(config)


def _of_home(home: Path) -> Iterator[Finding]:
    place = nearest(home)
    if not place.is_dir():
        yield Finding(Level.FAULT, f"{place} is no folder", "remove it, or let CLINVK_HOME name another one")
        return
    if not os.access(place, os.W_OK | os.X_OK):
        if place == home:
            owner = f"{os.geteuid()}:{os.getegid()}"
            yield Finding(Level.FAULT, f"{home} cannot be written to", f"chown -R {owner} {home}")
        else:
            text = f"{place} cannot be written to, so {home} cannot be made"
            yield Finding(Level.FAULT, text, "let CLINVK_HOME name a folder that is this user's")
        return
    if place != home:
        yield Finding(Level.NOTE, f"{home} will be made at the first start")
    elif mode := stat.S_IMODE(home.stat().st_mode) & OTHERS:
        text = f"others may look into {home} (mode {mode | 0o700:o}); prompts and answers lie there"
        yield Finding(Level.WARNING, text, f"chmod 700 {home}")
    else:
        yield Finding(Level.GOOD, f"{home} is there, for its owner alone")
    free = shutil.disk_usage(place).free
    if free < LITTLE_SPACE_BYTES:
        text = f"only {free / GIB:.1f} GiB are left on the disk of {home}"
        yield Finding(Level.WARNING, text, "make room, or let CLINVK_HOME name a folder on another disk")


def _of_store(config: Config) -> Finding:
    place = database(config)
    if isinstance(place, Path) and not is_there(place):
        return Finding(Level.NOTE, "the session store will be made at the first start")
    try:
        with SessionStore.open(place) as store:
            count = store.check()
    except StoreError as error:
        return Finding(Level.FAULT, error.message, "docs/configuration.md, `session`, says what a database must be")
    return Finding(Level.GOOD, f"the session store can be used: {count} {'session' if count == 1 else 'sessions'}")


def of_server(config: Config) -> Iterator[Finding]:
    """Whether a server runs where the configuration says, and how it is."""
    host, port = config.server.host, config.server.port
    if not port and not host.startswith(UNIX):
        yield Finding(Level.NOTE, "the server takes a free port at each start (server.port is 0)")
        return
    address = listening_address(host, port)
    try:
        with Connection(address, timeout_s=ANSWER_TIMEOUT_S) as server:
            health = server.health()
    except ClientError:
        if problem := "" if host.startswith(UNIX) else why_not_listen(host, port):
            yield Finding(Level.FAULT, problem)
        else:
            yield Finding(Level.NOTE, f"no server runs at {address}", "clinvk serve")
        return
    yield from _of_health(health, str(address))


def _of_health(health: Json, address: str) -> Iterator[Finding]:
    version, status = health["version"], health.get("status")
    if version != __version__:
        text = f"a server of version {version} runs at {address}, and this is {__version__}"
        yield Finding(Level.WARNING, text, "stop it, and start it again")
    if status == "unhealthy":
        reason = health["session_store"].get("error", "")
        yield Finding(
            Level.FAULT, f"the server at {address} cannot record sessions: {reason}", "mend the session store"
        )
    elif version == __version__:
        missing = [backend["name"] for backend in health.get("backends", ()) if not backend["available"]]
        without = f", without {', '.join(missing)}" if missing else ""
        yield Finding(Level.GOOD, f"a server runs at {address} since {health.get('uptime')}{without}")
