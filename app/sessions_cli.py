"""The grammar of ``clinvk sessions list|show|delete|clean|import``; what they do is in sessions_commands.py."""

import argparse
from pathlib import Path

from services.sessions.records import Status

LEAST_PREFIX = 8
"""Characters of an id that suffice to delete a session, as over HTTP."""
EXIT_CODES = (
    "Exit code 1: something was not found, or could not be done. 2: the configuration or the session store is at fault."
)


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

    def action(name: str, text: str) -> argparse.ArgumentParser:
        brief = text[0].lower() + text[1:]
        made = actions.add_parser(name, parents=[config], help=brief, description=f"{text}.", epilog=EXIT_CODES)
        made.set_defaults(run=_run, action=name)
        return made

    listing = action("list", "List sessions, the newest first")
    listing.add_argument("--backend", default="", help="only those of this backend")
    listing.add_argument("--status", type=Status, choices=[*Status], metavar="|".join(Status), help="only those")
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="the most to list (default: 50)")
    listing.add_argument("--json", action="store_true", help="as JSON")

    showing = action("show", "Show a session")
    showing.add_argument("id", metavar="ID", help="its id, or a beginning that no other has")
    showing.add_argument("--json", action="store_true", help="as JSON")
    showing.add_argument("--turns", action="store_true", help="with what was said, where session.store_turns kept it")

    deleting = action("delete", "Delete sessions, with their private folders")
    deleting.add_argument("ids", metavar="ID", nargs="+", type=_deletable, help="an id, or 8 characters of it or more")

    cleaning = action("clean", "Delete the sessions that nobody has used for long")
    days = "not used for so many days (default: session.retention_days)"
    cleaning.add_argument("--older-than", type=_positive, metavar="DAYS", help=days)

    importing = action("import", "Import the sessions of clinvoker, whose files stay as they are")
    importing.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=Path, help="clinvoker's (default: our home folder)"
    )
    whose = "whose they are to be: number 1, 2, … of the server's API keys (needed when there are several)"
    importing.add_argument("--key", type=_positive, metavar="N", help=whose)


def _run(arguments: argparse.Namespace) -> int:
    from app.sessions_commands import run  # noqa: PLC0415 - it brings the database, which other commands do without

    return run(arguments)


def _deletable(text: str) -> str:
    if len(text) < LEAST_PREFIX:
        raise argparse.ArgumentTypeError(f"give at least {LEAST_PREFIX} characters of the id, not {text!r}")
    return text


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 5 or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 99999, not {text!r}")
    return int(text)
