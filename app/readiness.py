"""What the arbiter does before its first worker, with the code that all workers need.

The workers are forked from here: what is imported now, they have at once, and its memory is one for all of them.
"""

import logging

import app.factory  # noqa: F401 - for the workers
from app.config import refuse
from services.container import database
from services.descendants import end_dead_instances
from services.metrics_folder import remove_dead_metrics_folders
from services.run_folder import RUNS_FOLDER, remove_dead_folders
from services.sessions.errors import StoreError
from services.sessions.store import SessionStore
from services.settings import Config

log = logging.getLogger("gunicorn.error")


def make_ready(config: Config) -> None:
    """Clear away what a server that was killed has left, and see to the session database.

    Ends the process (exit code 2) when that is no database.
    """
    if count := end_dead_instances():
        log.warning("ended %d processes that a server which no longer lives had left", count)
    remove_dead_folders(config.home / RUNS_FOLDER)
    remove_dead_metrics_folders(config.home)
    _check_store(config)


def _check_store(config: Config) -> None:
    """Bring the session database up to date before any worker needs it; one that is no database stops the start."""
    try:
        SessionStore.open(database(config)).close()
    except StoreError as error:
        if not error.passing:
            refuse(f"configuration error: {error.message}")
        log.warning("%s; prompts will run without being recorded until it can be used", error.message)
