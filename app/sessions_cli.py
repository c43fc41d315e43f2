"""The command line for sessions: ``clinvk sessions list|show|delete|clean|import``.

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

from app.config import ConfigError, load_config
from app.hooks import EXIT_CONFIG
from app.sessions_text import as_json, details, table, transcript
from app.source import keys_of, memory_bytes
from services.container import database
from services.errors import ClinvkError
from services.sessions.errors import StoreError
from services.sessions.importing import import_sessions
from services.sessions.records import Removed, Status
from services.sessions.store import SessionStore
from services.settings import Config

EXIT_NOT_DONE = 1
LEAST_PREFIX = 8
"""Characters of an id that suffice to delete a session, as over HTTP."""
DAY_S = 86_400
KEPT_BY_CLI = (
    "What the CLIs keep of it in their own folders stays: only the server's DELETE /sessions/{id} removes that."
)
EXIT_CODES = (
    "Exit code 1: something was not found, or could not be done. 2: the configuration or the session store is at fault."
)

Work = Callable[[SessionStore, Config, argparse.Namespace], int]
"""What a command does with the open store; gives the exit code."""


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: argparse.ArgumentParser
) -> None:
    """Add ``sessions`` and its commands to a command line; ``config`` has the flags that each of them takes."""
    top = commands.add_parser(
        "sessions",
        help="list, show, delete and import sessions",
        description="Look after the sessions, whether a server runs or not.",
    )
    actions = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def action(name: str, work: Work, text: str) -> argparse.ArgumentParser:
        brief = text[0].lower() + text[1:]
        made = actions.add_parser(name, parents=[config], help=brief, description=f"{text}.", epilog=EXIT_CODES)
        made.set_defaults(run=_run, work=work)
        return made

    listing = action("list", _list, "List sessions, the newest first")
    listing.add_argument("--backend", default="", help="only those of this backend")
    listing.add_argument("--status", type=Status, choices=[*Status], metavar="|".join(Status), help="only those")
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="the most to list (default: 50)")
    listing.add_argument("--json", action="store_true", help="as JSON")

    showing = action("show", _show, "Show a session")
    showing.add_argument("id", metavar="ID", help="its id, or a beginning that no other has")
    showing.add_argument("--json", action="store_true", help="as JSON")
    showing.add_argument("--turns", action="store_true", help="with what was said, where session.store_turns kept it")

    deleting = action("delete", _delete, "Delete sessions, with their private folders")
    deleting.add_argument("ids", metavar="ID", nargs="+", type=_deletable, help="an id, or 8 characters of it or more")

    cleaning = action("clean", _clean, "Delete the sessions that nobody has used for long")
    days = "not used for so many days (default: session.retention_days)"
    cleaning.add_argument("--older-than", type=_positive, metavar="DAYS", help=days)

    importing = action("import", _import, "Import the sessions of clinvoker, whose files stay as they are")
    importing.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=Path, help="clinvoker's (default: our home folder)"
    )
    whose = "whose they are to be: number 1, 2, … of the server's API keys (needed when there are several)"
    importing.add_argument("--key", type=_positive, metavar="N", help=whose)


def _run(arguments: argparse.Namespace) -> int:
    """Do a command's work; errors in one line on stderr."""
    work: Work = arguments.work
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


def _deletable(text: str) -> str:
    if len(text) < LEAST_PREFIX:
        raise argparse.ArgumentTypeError(f"give at least {LEAST_PREFIX} characters of the id, not {text!r}")
    return text


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 5 or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 99999, not {text!r}")
    return int(text)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _complain(message: str) -> None:
    print(f"clinvk: {message}", file=sys.stderr)
