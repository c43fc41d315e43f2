"""What ``clinvk sessions`` does; its grammar is in sessions_cli.py.

It works on the session store itself.  No server need run, and one that does is not disturbed: each change is one
transaction, and a session with a run going on is left alone.  Whoever can open the database sees all owners' sessions.
"""

import argparse
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from app.config import EXIT_CONFIG, ConfigError, load_config
from app.sessions_text import as_json, details, table, transcript
from app.source import keys_of, memory_bytes
from services.container import database
from services.errors import ClinvkError
from services.sessions.errors import StoreError
from services.sessions.importing import import_sessions
from services.sessions.records import Removed
from services.sessions.store import SessionStore
from services.settings import Config

EXIT_NOT_DONE = 1
DAY_S = 86_400
KEPT_BY_CLI = (
    "What the CLIs keep of it in their own folders stays: only the server's DELETE /sessions/{id} removes that."
)


def run(arguments: argparse.Namespace) -> int:
    """Do a command's work; errors in one line on stderr."""
    work = WORK[arguments.action]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a title may have characters that the terminal's encoding lacks
    try:
        config = load_config(arguments.config, environ=os.environ, memory_bytes=memory_bytes())
        with SessionStore.open(database(config)) as store:
            code = work(store, config, arguments)
        sys.stdout.flush()
    except (ConfigError, StoreError) as error:
        _complain(str(error))
        return EXIT_CONFIG
    except ClinvkError as error:
        _complain(error.message)
        return EXIT_NOT_DONE
    except BrokenPipeError:  # the reader has seen enough: let Python's own flush at the end go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return EXIT_NOT_DONE
    return code


def _list(store: SessionStore, _: Config, arguments: argparse.Namespace) -> int:
    page = store.page(None, backend=arguments.backend, status=arguments.status, limit=arguments.limit)
    if arguments.json:
        _print_json({"sessions": [as_json(session) for session in page.sessions], "total": page.total})
        return 0
    if not page.sessions:
        print("There are no such sessions." if arguments.backend or arguments.status else "There are no sessions.")
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table(page.sessions, time.time(), width):
        print(line)
    if page.total > len(page.sessions):
        print(f"\n{len(page.sessions)} of {page.total} sessions: --limit shows more.")
    return 0


def _show(store: SessionStore, _: Config, arguments: argparse.Namespace) -> int:
    session = store.get(arguments.id, None)
    turns = store.turns(session.id, None, limit=session.turn_count) if arguments.turns else ()
    if arguments.json:
        _print_json(as_json(session) | ({"turns": [as_json(turn) for turn in turns]} if arguments.turns else {}))
        return 0
    for line in details(session, time.time()):
        print(line)
    for turn in turns:
        print(transcript(turn))
    if arguments.turns and not turns:
        print("\nNo turn was kept: session.store_turns was off.")
    return 0


def _delete(store: SessionStore, _: Config, arguments: argparse.Namespace) -> int:
    code = 0
    kept = False
    for wanted in arguments.ids:
        try:
            removed = store.delete(wanted, None)
        except StoreError:
            raise
        except ClinvkError as error:
            _complain(error.message)
            code = EXIT_NOT_DONE
            continue
        print(f"Deleted {removed.session.id}.")
        kept = kept or bool(removed.session.cli_session_id)
        code = max(code, _remove_folder(removed))
    if kept:
        print(KEPT_BY_CLI)
    return code


def _clean(store: SessionStore, config: Config, arguments: argparse.Namespace) -> int:
    days = arguments.older_than or config.session.retention_days
    if not days:
        print(
            "Nothing was deleted: session.retention_days is 0, which keeps sessions for ever. --older-than says more."
        )
        return 0
    code = count = 0
    kept = False
    for removed in store.remove_unused(time.time() - days * DAY_S):
        count += 1
        kept = kept or bool(removed.session.cli_session_id)
        code = max(code, _remove_folder(removed))
    print(f"Deleted {_counted(count, 'session')} not used for {_counted(days, 'day')}.")
    if kept:
        print(KEPT_BY_CLI)
    return code


def _import(store: SessionStore, config: Config, arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder or config.home / "sessions"
    report = import_sessions(store, folder, owner=_owner(config, arguments.key))
    for broken in report.broken:
        _complain(f"{broken.path}: {broken.reason}")
    print(f"{folder}: {_counted(report.found, 'session')}, {report.added} new, {len(report.broken)} broken.")
    return EXIT_NOT_DONE if report.broken else 0


def _owner(config: Config, number: int | None) -> str:
    """Whose imported sessions are to be, so that a client can reach them.  Raises ClinvkError."""
    owners = keys_of(config).owners
    if number is None and len(owners) > 1:
        message = f"{len(owners)} API keys are configured: say whose the sessions are to be, from 1 to {len(owners)}"
        raise ClinvkError.field("--key", message)
    if number is not None and number > len(owners):
        raise ClinvkError.field("--key", f"there is no API key {number}: {len(owners) or 'none'} configured")
    return owners[(number or 1) - 1] if owners else ""


def _remove_folder(removed: Removed) -> int:
    """Remove what nobody needs any more; the exit code."""
    if not removed.folder:
        return 0
    shutil.rmtree(removed.folder, ignore_errors=True)
    if not Path(removed.folder).exists():
        return 0
    _complain(f"the folder of session {removed.session.id} could not be removed: {removed.folder}")
    return EXIT_NOT_DONE


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _complain(message: str) -> None:
    print(f"clinvk: {message}", file=sys.stderr)


WORK: dict[str, Callable[[SessionStore, Config, argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "delete": _delete,
    "clean": _clean,
    "import": _import,
}
"""What a command does with the open store; gives the exit code."""
